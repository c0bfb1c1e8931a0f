"""PAN (Li 2018): a pyramid of attention on the deepest feature, attention on skips."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from resseg.gradients.fork import Fork
from resseg.gradients.names import CLASSIFIER, DOWN, FORK, SKIP_FACTOR
from resseg.models.heads.fcn import deepest
from resseg.models.layers import Classifier, ConvNormAct
from resseg.models.pooling import halved_max_pool
from resseg.models.resizing import resize, size_of
from resseg.models.shortcuts import LongSkip

UP, ATTENTION = "up", "attention"
BRANCHES = ("pool", "mid", "down")


class PAN(nn.Module):
    """The attention pyramid; per skip: enlarge, and add the skip times a gate.

    The gate is made of the means of the deeper signal, which is therefore a fork,
    `gate_<stage>`. The layout is that of segmentation_models.pytorch, whose
    convolutions have biases in front of their norms.

    Attributes:
        width: channels from the pyramid on.
        skips: merged features, shallow first.
        skip_scales: forward factor per skip, behind its convolution, whose norm would
            undo it.
        branch_gradients: backward factor per branch of the pyramid, then per gate, deep
            first.
        gated: skips are multiplied by a gate of themselves, too.
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
        count = len(BRANCHES)
        gradients = self.branch_gradients or (1.0,) * (count + len(self.skips))
        settings: dict[str, Any] = {"norm": self.norm, "dtype": self.dtype}
        settings |= {"use_bias": True}
        x = AttentionPyramid(
            self.width,
            gradients[:count],
            self.norm,
            self.dtype,
            self.align_corners,
            name="pyramid",
        )(features[deepest(features)], train)
        scales = self.skip_scales or (1.0,) * len(self.skips)
        levels = list(zip(self.skips, scales, strict=True))[::-1]
        for (stage, scale), gradient in zip(levels, gradients[count:], strict=True):
            paths, factors = (UP, ATTENTION), (1.0, gradient)
            up, gate = Fork("pyramid", paths, factors, name=f"gate_{stage}")(x)
            skip = features[stage]
            up = resize(up, size_of(skip), self.align_corners)
            skip = ConvNormAct(self.width, 3, **settings, name=f"skip_{stage}")(
                skip, train
            )
            name = f"{SKIP_FACTOR}{stage}"
            skip = LongSkip(scale, self.gated, self.dtype, name=name)(skip)
            gate = ConvNormAct(
                self.width, 1, **settings, activates=False, name=f"means_{stage}"
            )(gate.mean(axis=(1, 2), keepdims=True), train)
            x = up + skip * nn.sigmoid(gate)
        return Classifier(
            self.num_classes, self.dropout, self.dtype, kernel=3, name=CLASSIFIER
        )(x, train)


class AttentionPyramid(nn.Module):
    """A 1x1 convolution times a map that three scales make, plus the image-level mean.

    It is a fork with a path for each of the three. The map is that of a small U-Net of
    one channel: halved three times, convolved with 7x7, 5x5 and 3x3, added on the way
    back; where it parts, at `level1` and `level2`, are forks too.

    Attributes:
        gradients: backward factor per path; () = all 1.
    """

    width: int
    gradients: tuple[float, ...] = ()
    norm: str = "batch"
    dtype: Any = jnp.float32
    align_corners: bool = False

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        fork = Fork("pyramid", BRANCHES, self.gradients, name=FORK)
        to_pool, to_mid, to_map = fork(x)

        def layer(width: int, kernel: int, name: str, x: jax.Array) -> jax.Array:
            settings: dict[str, Any] = {"norm": self.norm, "dtype": self.dtype}
            settings |= {"use_bias": True, "name": name}
            return ConvNormAct(width, kernel, **settings)(x, train)

        def parted(x: jax.Array, name: str) -> tuple[jax.Array, ...]:
            return Fork("pyramid", (ATTENTION, DOWN), name=name)(x)

        def enlarge(x: jax.Array, like: jax.Array) -> jax.Array:
            return resize(x, size_of(like), self.align_corners)

        pooled = layer(self.width, 1, "pool", to_pool.mean(axis=(1, 2), keepdims=True))
        middle = layer(self.width, 1, "mid", to_mid)
        first = layer(1, 7, "down1", halved_max_pool(to_map))
        first, deeper = parted(first, "level1")
        second = layer(1, 5, "down2", halved_max_pool(deeper))
        second, deeper = parted(second, "level2")
        third = layer(1, 3, "down3", halved_max_pool(deeper))
        third = layer(1, 3, "down4", third)
        weights = layer(1, 5, "conv2", second) + enlarge(third, second)
        weights = enlarge(weights, first) + layer(1, 7, "conv1", first)
        return enlarge(weights, middle) * middle + pooled
