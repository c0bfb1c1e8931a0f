"""FPN for segmentation (Lin 2017; Kirillov 2019, figure 3)."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from resseg.gradients.fork import Fork
from resseg.gradients.names import CLASSIFIER, DOWN, SEGMENT, SKIP_FACTOR
from resseg.models.heads.fcn import deepest
from resseg.models.layers import Classifier, Conv, ConvNormAct
from resseg.models.resizing import resize, resize_nearest, size_of
from resseg.models.shortcuts import LongSkip


class FPN(nn.Module):
    """A pyramid of features from the deepest down, and the sum of what each level says.

    Level by level the feature is enlarged to the skip and added to its 1x1 convolution.
    Each level goes through 3x3 convolutions, each followed by an enlargement to the
    next level, up to the shallowest one; there all are added. So a level but the
    shallowest is a fork, `pyramid_<stage>`: what is said of the scores, what goes down.

    The layout is that of segmentation_models.pytorch, whose norms are of groups here:
    `model.head.norm`.

    Attributes:
        width: channels of the pyramid; the levels say half of it.
        skips: levels but the deepest, shallow first.
        skip_scales: forward factor per skip.
        branch_gradients: backward factor per fork, deep first, on what is said there.
        gated: skips are multiplied by a gate of themselves.
        dropout: of channels, in front of the classifier.
    """

    num_classes: int
    width: int
    skips: tuple[str, ...] = ("stage1", "stage2", "stage3")
    skip_scales: tuple[float, ...] = ()
    branch_gradients: tuple[float, ...] = ()
    gated: bool = False
    dropout: float = 0.0
    norm: str = "batch"
    dtype: Any = jnp.float32
    align_corners: bool = False

    @nn.compact
    def __call__(self, features: dict[str, jax.Array], train: bool) -> jax.Array:
        levels = (*self.skips, deepest(features))
        scales = self.skip_scales or (1.0,) * len(self.skips)
        gradients = self.branch_gradients or (1.0,) * len(self.skips)
        sizes = [size_of(features[stage]) for stage in levels]
        x, parts = self.lateral(features[levels[-1]], levels[-1]), []
        for level in range(len(levels))[::-1]:
            stage, said = levels[level], x
            if level:
                factors = gradients[len(self.skips) - level], 1.0
                name = f"pyramid_{stage}"
                said, x = Fork("pyramid", (SEGMENT, DOWN), factors, name=name)(x)
            parts.append(self.say(said, stage, sizes[:level][::-1], train))
            if level:
                stage, scale = levels[level - 1], scales[level - 1]
                name = f"{SKIP_FACTOR}{stage}"
                factor = LongSkip(scale, self.gated, self.dtype, name=name)
                skip = self.lateral(factor(features[stage]), stage)
                x = resize_nearest(x, sizes[level - 1]) + skip
        scores = Classifier(
            self.num_classes,
            self.dropout,
            self.dtype,
            drops_channels=True,
            name=CLASSIFIER,
        )
        return scores(sum(parts[1:], start=parts[0]), train)

    def lateral(self, x: jax.Array, stage: str) -> jax.Array:
        name = f"lateral_{stage}"
        return Conv(self.width, 1, use_bias=True, dtype=self.dtype, name=name)(x)

    def say(
        self, x: jax.Array, stage: str, sizes: list[tuple[int, int]], train: bool
    ) -> jax.Array:
        """A level on its way to the scores, by way of these sizes."""
        for i, size in enumerate(sizes or [size_of(x)], 1):
            x = ConvNormAct(
                max(self.width // 2, 1),
                norm=self.norm,
                dtype=self.dtype,
                name=f"{SEGMENT}_{stage}_conv{i}",
            )(x, train)
            x = resize(x, size, self.align_corners)
        return x
