"""DeepLabV3 (Chen 2017) and DeepLabV3+ (Chen 2018)."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from resseg.gradients.fork import Fork
from resseg.gradients.names import CLASSIFIER, FORK, SKIP_FACTOR
from resseg.models.heads.fcn import deepest
from resseg.models.layers import Classifier, ConvNormAct
from resseg.models.resizing import resize
from resseg.models.shortcuts import LongSkip

# Output stride -> dilations, so that the pyramid sees the same part of the image.
RATES = {32: (3, 6, 9), 16: (6, 12, 18), 8: (12, 24, 36)}


class Pyramid(nn.Module):
    """ASPP: a 1x1, three dilated 3x3 and an image-level branch, joined by a 1x1.

    It is a fork with one path per branch.

    Attributes:
        separable: the dilated convolutions are depthwise-separable.
    """

    width: int
    rates: tuple[int, ...]
    gradients: tuple[float, ...] = ()
    dropout: float = 0.1
    norm: str = "batch"
    dtype: Any = jnp.float32
    separable: bool = False

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        paths = ("conv1x1", *(f"rate{rate}" for rate in self.rates), "pool")
        fork = Fork("pyramid", paths, self.gradients, name=FORK)
        to_conv, *to_rates, to_pool = fork(x)

        def layer(name: str, kernel: int, dilation: int = 1) -> ConvNormAct:
            return ConvNormAct(
                self.width,
                kernel,
                dilation,
                self.norm,
                self.dtype,
                self.separable and kernel > 1,
                name=name,
            )

        branches = [layer("conv1x1", 1)(to_conv, train)]
        for rate, to_rate in zip(self.rates, to_rates, strict=True):
            branches.append(layer(f"rate{rate}", 3, rate)(to_rate, train))
        pooled = layer("pool", 1)(to_pool.mean(axis=(1, 2), keepdims=True), train)
        branches.append(jnp.broadcast_to(pooled, branches[0].shape))
        x = layer("project", 1)(jnp.concatenate(branches, axis=-1), train)
        return nn.Dropout(self.dropout, deterministic=not train)(x)


class DeepLabV3(nn.Module):
    """ASPP, a 3x3 convolution, classifier."""

    num_classes: int
    pyramid: Pyramid
    norm: str = "batch"
    dtype: Any = jnp.float32
    separable: bool = False

    @nn.compact
    def __call__(self, features: dict[str, jax.Array], train: bool) -> jax.Array:
        x = self.pyramid(features[deepest(features)], train)
        x = ConvNormAct(
            self.pyramid.width,
            norm=self.norm,
            dtype=self.dtype,
            separable=self.separable,
            name="conv",
        )(x, train)
        return Classifier(self.num_classes, dtype=self.dtype, name=CLASSIFIER)(x, train)


class DeepLabV3Plus(nn.Module):
    """ASPP, merged at the resolution of the low-level skip, two 3x3 convolutions.

    Attributes:
        skips: the low-level feature; () = without it.
        skip_scales: forward factor per skip.
        gated: skips are multiplied by a gate of themselves.
        separable: the 3x3 convolutions are depthwise-separable.
        convs: 3x3 convolutions before the merge, `pyramid_conv1` …, and after it,
            `conv1` …; (0, 2) in the paper, (1, 1) in segmentation_models.pytorch.
        align_corners: of the resizing to the skip.
    """

    num_classes: int
    pyramid: Pyramid
    skips: tuple[str, ...] = ("stage1",)
    skip_scales: tuple[float, ...] = ()
    gated: bool = False
    norm: str = "batch"
    dtype: Any = jnp.float32
    separable: bool = False
    convs: tuple[int, int] = (0, 2)
    align_corners: bool = False

    @nn.compact
    def __call__(self, features: dict[str, jax.Array], train: bool) -> jax.Array:
        x = self.pyramid(features[deepest(features)], train)
        width = self.pyramid.width

        def layer(width: int, kernel: int, name: str) -> ConvNormAct:
            return ConvNormAct(
                width,
                kernel,
                norm=self.norm,
                dtype=self.dtype,
                separable=self.separable and kernel > 1,
                name=name,
            )

        before, after = self.convs
        for i in range(before):
            x = layer(width, 3, f"pyramid_conv{i + 1}")(x, train)
        scales = self.skip_scales or (1.0,) * len(self.skips)
        for stage, scale in zip(self.skips, scales, strict=True):
            skip = LongSkip(
                scale, self.gated, self.dtype, name=f"{SKIP_FACTOR}{stage}"
            )(features[stage])
            skip = layer(max(48 * width // 256, 4), 1, "low_level")(skip, train)
            x = resize(x, (skip.shape[1], skip.shape[2]), self.align_corners)
            x = jnp.concatenate([x, skip], axis=-1)
        for i in range(after):
            x = layer(width, 3, f"conv{i + 1}")(x, train)
        return Classifier(self.num_classes, dtype=self.dtype, name=CLASSIFIER)(x, train)
