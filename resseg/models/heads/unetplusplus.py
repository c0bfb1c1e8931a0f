"""UNet++ (Zhou 2018): a U-Net whose skips are dense chains of decoder blocks."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from resseg.architecture import nested_paths
from resseg.gradients.fork import Fork
from resseg.gradients.names import CLASSIFIER, SKIP_FACTOR
from resseg.models.heads.fcn import deepest
from resseg.models.heads.unet import DecoderBlock, enlarged
from resseg.models.layers import Classifier
from resseg.models.resizing import size_of
from resseg.models.shortcuts import LongSkip

Left = dict[tuple[str, str], jax.Array]  # what has left a source for a node


class UNetPlusPlus(nn.Module):
    """Node x_d_l enlarges x_d_(l - 1) and merges all nodes x_e_l, e > d, and a skip.

    Level l has the resolution of the l-th skip, deep first; x_0_l is on the way to the
    scores, and where l = d an encoder's feature is enlarged. What goes to several nodes
    is a fork, `nested_<what>`, with a path per node.

    The layout is that of segmentation_models.pytorch.

    Attributes:
        channels: of x_0_l, deep first; one per skip, and one more for the last step to
            the image where the stem has a stride. Others have those of their skip.
        skips: merged features, shallow first. Empty with long skips of kind none: then
            only the nodes x_0_l are there.
        skip_scales: forward factor per skip.
        branch_gradients: backward factor per path, as `nested_paths` lists them.
        gated: skips are multiplied by a gate of themselves.
    """

    num_classes: int
    channels: tuple[int, ...]
    skips: tuple[str, ...] = ("stem", "stage1", "stage2", "stage3")
    skip_scales: tuple[float, ...] = ()
    branch_gradients: tuple[float, ...] = ()
    gated: bool = False
    dropout: float = 0.0
    norm: str = "batch"
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, features: dict[str, jax.Array], train: bool) -> jax.Array:
        left, x = self.encoded(features), features[deepest(features)]
        sources = (deepest(features), *self.skips[::-1])
        for level, width in enumerate(self.channels):
            if level >= len(self.skips):
                height, wide = features["image"].shape[1:3]
                size = min(2 * x.shape[1], height), min(2 * x.shape[2], wide)
                x = self.node(x, size, None, width, f"x_0_{level}", train)
                continue
            skip = sources[level + 1]
            size, channels = size_of(features[skip]), features[skip].shape[-1]
            for depth in range(level, -1, -1):
                node = f"x_{depth}_{level}"
                nodes = [f"x_{i}_{level}" for i in range(depth + 1, level + 1)]
                merged = [left[source, node] for source in (*nodes, skip)]
                below = sources[level] if depth == level else f"x_{depth}_{level - 1}"
                low = left[below, node] if depth or not level else x
                out = channels if depth else width
                y = jnp.concatenate(merged, axis=-1)
                y = self.node(low, size, y, out, node, train)
                if depth:
                    self.leave(left, y, node, f"x_0_{level}")
                else:
                    x = y
        return Classifier(
            self.num_classes, self.dropout, self.dtype, kernel=3, name=CLASSIFIER
        )(x, train)

    def encoded(self, features: dict[str, jax.Array]) -> Left:
        """The features on their ways to the nodes."""
        deep = deepest(features)
        left = {(deep, "x_0_0"): features[deep]}
        scales = self.skip_scales or (1.0,) * len(self.skips)
        for stage, scale in zip(self.skips, scales, strict=True):
            name = f"{SKIP_FACTOR}{stage}"
            factor = LongSkip(scale, self.gated, self.dtype, name=name)
            self.leave(left, factor(features[stage]), stage, "x_0_0")
        return left

    def node(
        self,
        x: jax.Array,
        size: tuple[int, int],
        merged: jax.Array | None,
        width: int,
        name: str,
        train: bool,
    ) -> jax.Array:
        block = DecoderBlock(width, self.norm, self.dtype, name=name)
        return block(enlarged(x, size, merged), train)

    def leave(self, left: Left, x: jax.Array, source: str, only: str) -> None:
        """`x` to each node that it goes to; to `only` where that is a single one."""
        paths, copies = nested_paths(self.skips), (x,)
        if source in paths:
            count = sum(map(len, paths.values()))
            gradients = iter(self.branch_gradients or (1.0,) * count)
            factors = {of: tuple(next(gradients) for _ in paths[of]) for of in paths}
            kind, name = "pyramid", f"nested_{source}"
            copies = Fork(kind, paths[source], factors[source], name=name)(x)
        for node, copy in zip(paths.get(source, (only,)), copies, strict=True):
            left[source, node] = copy
