"""UPerNet (Xiao 2018): a pooling pyramid on top of a feature pyramid, all fused."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from resseg.gradients.fork import Fork
from resseg.gradients.names import CLASSIFIER, DOWN, SEGMENT, SKIP_FACTOR
from resseg.models.heads.fcn import deepest
from resseg.models.heads.pspnet import BRANCHES, PoolingPyramid
from resseg.models.layers import Classifier, ConvNormAct
from resseg.models.resizing import resize, size_of
from resseg.models.shortcuts import LongSkip

LAYER_EPSILON = 1e-6  # segmentation_models.pytorch's


class UPerNet(nn.Module):
    """Pooling pyramid; down the levels adding skips; all levels beside each other; 3x3.

    A level but the shallowest is a fork, `pyramid_<stage>`: what is fused, what goes
    down. The layout is that of segmentation_models.pytorch: features are normalised
    over their channels first, and corners are aligned in the last resizing alone, if at
    all.

    Attributes:
        width: channels of every level.
        skips: levels but the deepest, shallow first.
        skip_scales: forward factor per skip, behind its convolution, whose norms would
            undo it.
        branch_gradients: backward factor per branch of the pooling pyramid, then per
            level, deep first, on what is fused.
        gated: skips are multiplied by a gate of themselves.
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

    @nn.compact
    def __call__(self, features: dict[str, jax.Array], train: bool) -> jax.Array:
        count = len(BRANCHES)
        gradients = self.branch_gradients or (1.0,) * (count + len(self.skips))
        scales = self.skip_scales or (1.0,) * len(self.skips)
        settings: dict[str, Any] = {"norm": self.norm, "dtype": self.dtype}
        stage = deepest(features)
        pyramid = PoolingPyramid(
            self.width,
            gradients[:count],
            **settings,
            normalizes_all=True,
            feature_first=True,
            name="pyramid",
        )
        x = pyramid(self.normalised(features[stage], stage), train)
        x = ConvNormAct(self.width, 3, **settings, name="pyramid_conv")(x, train)
        levels, shallower = [], list(zip(self.skips, scales, strict=True))[::-1]
        for (skip, scale), gradient in zip(shallower, gradients[count:], strict=True):
            name = f"pyramid_{stage}"
            fork = Fork("pyramid", (SEGMENT, DOWN), (gradient, 1.0), name=name)
            fused, x = fork(x)
            levels.append(self.fused(fused, stage, train, smooths=bool(levels)))
            lateral = ConvNormAct(self.width, 1, **settings, name=f"lateral_{skip}")
            y = lateral(self.normalised(features[skip], skip), train)
            name = f"{SKIP_FACTOR}{skip}"
            y = LongSkip(scale, self.gated, self.dtype, name=name)(y)
            x, stage = resize(x, size_of(y)) + y, skip
        levels.append(self.fused(x, stage, train, smooths=bool(levels)))
        size = size_of(x)
        x = jnp.concatenate([resize(y, size) for y in levels[::-1]], axis=-1)
        x = ConvNormAct(self.width, 3, **settings, name="fusion")(x, train)
        return Classifier(self.num_classes, self.dropout, self.dtype, name=CLASSIFIER)(
            x, train
        )

    def normalised(self, x: jax.Array, stage: str) -> jax.Array:
        """Over the channels of each pixel."""
        return nn.LayerNorm(
            LAYER_EPSILON,
            dtype=self.dtype,
            use_fast_variance=False,
            name=f"norm_{stage}",
        )(x)

    def fused(self, x: jax.Array, stage: str, train: bool, smooths: bool) -> jax.Array:
        """A level on its way to the others; what the pooling pyramid gave is smooth."""
        if not smooths:
            return x
        settings: dict[str, Any] = {"norm": self.norm, "dtype": self.dtype}
        return ConvNormAct(self.width, 3, **settings, name=f"conv_{stage}")(x, train)
