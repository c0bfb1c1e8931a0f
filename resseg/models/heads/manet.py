"""MA-Net (Fan 2020): a U-Net with attention over positions, and over channels."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from resseg.gradients.fork import Fork
from resseg.gradients.names import CLASSIFIER, FORK, SKIP_FACTOR
from resseg.models.heads.fcn import deepest
from resseg.models.heads.unet import DecoderBlock, enlarged
from resseg.models.layers import Classifier, Conv, ConvNormAct
from resseg.models.ops.relu import relu
from resseg.models.resizing import resize_nearest, size_of
from resseg.models.shortcuts import LongSkip

REDUCTION = 16  # channels of a skip per inner one of its attention
ATTENDED = ("identity", "attention")


class MANet(nn.Module):
    """Positions of the deepest feature attend to each other; then a U-Net's levels.

    At a level with a skip, the deeper signal is multiplied by the sum of two gates of
    its channels, one made of its own means and one of the skip's. The layout is that of
    segmentation_models.pytorch.

    Attributes:
        width: channels in which positions are compared.
        channels: of each decoder block, deep first; one per skip, and one more for the
            last step to the image where the stem has a stride.
        skips: merged features, shallow first; all of them are used. Empty with long
            skips of kind none.
        skip_scales: forward factor per skip.
        branch_gradients: backward factor on the identity, and on the attention, of the
            deepest feature.
        gated: skips are multiplied by a gate of themselves.
    """

    num_classes: int
    width: int
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
        x = features[deepest(features)]
        settings: dict[str, Any] = {"norm": self.norm, "dtype": self.dtype}
        x = PositionAttention(
            self.width, self.branch_gradients, self.dtype, name="attention"
        )(x)
        scales = self.skip_scales or (1.0,) * len(self.skips)
        merged = list(zip(self.skips, scales, strict=True))[::-1]
        for level, width in enumerate(self.channels):
            if level < len(merged):
                stage, scale = merged[level]
                name = f"{SKIP_FACTOR}{stage}"
                factor = LongSkip(scale, self.gated, self.dtype, name=name)
                fuse = Fusion(**settings, name=f"fusion{level + 1}")
                x = fuse(x, factor(features[stage]), train)
            else:
                height, wide = features["image"].shape[1:3]
                size = min(2 * x.shape[1], height), min(2 * x.shape[2], wide)
                x = enlarged(x, size, None)
            x = DecoderBlock(width, **settings, name=f"decoder{level + 1}")(x, train)
        return Classifier(
            self.num_classes, self.dropout, self.dtype, kernel=3, name=CLASSIFIER
        )(x, train)


class PositionAttention(nn.Module):
    """`conv(x + A(x))`, A mixing the positions of an image.

    The weights of all pairs of positions of an image add up to 1. A's result, `[h * w,
    channels]`, is read as `[channels, h, w]`: so does segmentation_models.pytorch,
    whose weights this takes. It is a fork with a path for the identity and one for A.

    Attributes:
        width: channels in which positions are compared.
        gradients: backward factor per path; () = both 1.
    """

    width: int
    gradients: tuple[float, ...] = ()
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        fork = Fork("pyramid", ATTENDED, self.gradients, name=FORK)
        identity, x = fork(x)
        batch, height, width, channels = x.shape
        settings: dict[str, Any] = {"use_bias": True, "dtype": self.dtype}
        top = Conv(self.width, 1, **settings, name="top")(x)
        centre = Conv(self.width, 1, **settings, name="centre")(x)
        bottom = Conv(channels, 3, **settings, name="bottom")(x)

        def positions(y: jax.Array) -> jax.Array:
            return y.reshape(batch, height * width, y.shape[-1])

        pairs = jnp.einsum("bic,bjc->bij", positions(centre), positions(top))
        weights = jax.nn.softmax(pairs.astype(jnp.float32), axis=(1, 2))
        weights = weights.astype(self.dtype)
        mixed = jnp.einsum("bij,bjc->bic", weights, positions(bottom))
        mixed = mixed.reshape(batch, channels, height, width).transpose(0, 2, 3, 1)
        return Conv(channels, 3, **settings, name="project")(identity + mixed)

    def products(self, positions: int, channels: int) -> int:
        """Multiply-accumulates of the two products of one image."""
        return positions**2 * (self.width + channels)


class Fusion(nn.Module):
    """The deeper signal, brought to the skip's shape, gated by both, and the skip."""

    norm: str = "batch"
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, skip: jax.Array, train: bool) -> jax.Array:
        channels = skip.shape[-1]
        settings: dict[str, Any] = {"norm": self.norm, "dtype": self.dtype}
        x = ConvNormAct(x.shape[-1], 3, **settings, name="conv1")(x, train)
        x = ConvNormAct(channels, 1, **settings, name="conv2")(x, train)
        x = resize_nearest(x, size_of(skip))
        gate = ChannelGate(self.dtype, name="gate_deeper")(x)
        gate = gate + ChannelGate(self.dtype, name="gate_skip")(skip)
        return jnp.concatenate([x * gate, skip], axis=-1)


class ChannelGate(nn.Module):
    """`[b, h, w, c] -> [b, 1, 1, c]`: means, 1x1, ReLU, 1x1, sigmoid (Hu 2018)."""

    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        channels = x.shape[-1]
        inner = max(channels // REDUCTION, 1)
        settings: dict[str, Any] = {"use_bias": True, "dtype": self.dtype}
        y = x.mean(axis=(1, 2), keepdims=True)
        y = relu(Conv(inner, 1, **settings, name="reduce")(y))
        return nn.sigmoid(Conv(channels, 1, **settings, name="expand")(y))
