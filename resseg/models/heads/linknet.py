"""LinkNet (Chaurasia 2017): a light decoder, to which encoder features are added."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from resseg.gradients.names import CLASSIFIER, SKIP_FACTOR
from resseg.models.heads.fcn import deepest
from resseg.models.layers import Classifier, ConvNormAct, Norm, he_normal
from resseg.models.ops import halo
from resseg.models.ops.relu import relu
from resseg.models.ops.spread import spread
from resseg.models.resizing import resize_nearest, size_of
from resseg.models.shortcuts import LongSkip


class LinkNet(nn.Module):
    """Per level: enlarge to the skip in a narrow block, and add the skip.

    The layout is that of segmentation_models.pytorch.

    Attributes:
        width: channels of the last level, where no skip says how many.
        levels: steps of the decoder: one per skip, and one more for the last step to
            the image where the stem has a stride.
        skips: merged features, shallow first; all of them are used. Empty with long
            skips of kind none: then each level has half of the channels.
        skip_scales: forward factor per skip.
        gated: skips are multiplied by a gate of themselves.
    """

    num_classes: int
    width: int
    levels: int
    skips: tuple[str, ...] = ("stem", "stage1", "stage2", "stage3")
    skip_scales: tuple[float, ...] = ()
    gated: bool = False
    dropout: float = 0.0
    norm: str = "batch"
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, features: dict[str, jax.Array], train: bool) -> jax.Array:
        x = features[deepest(features)]
        scales = self.skip_scales or (1.0,) * len(self.skips)
        merged = list(zip(self.skips, scales, strict=True))[::-1]
        for level in range(self.levels):
            skip = None
            if level < len(merged):
                stage, scale = merged[level]
                name = f"{SKIP_FACTOR}{stage}"
                factor = LongSkip(scale, self.gated, self.dtype, name=name)
                skip = factor(features[stage])
            last = level == self.levels - 1
            width = self.width if last else max(x.shape[-1] // 2, 1)
            width = width if skip is None else skip.shape[-1]
            size = size_of(features["image"] if skip is None else skip)
            block = Enlarging(width, self.norm, self.dtype, name=f"decoder{level + 1}")
            x = block(x, size, train)
            x = x if skip is None else x + skip
        return Classifier(self.num_classes, self.dropout, self.dtype, name=CLASSIFIER)(
            x, train
        )


class Enlarging(nn.Module):
    """1x1 to a quarter of the channels, twofold transposed convolution, 1x1.

    A 3x3 convolution stands for the transposed one where nothing is to be enlarged.
    """

    features: int
    norm: str = "batch"
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, size: tuple[int, int], train: bool) -> jax.Array:
        """What exceeds `size`, height and width, is cut off."""
        inner = max(x.shape[-1] // 4, 1)
        layer = {"norm": self.norm, "dtype": self.dtype}
        same = size_of(x) == size
        x = ConvNormAct(inner, 1, **layer, name="conv1")(x, train)
        if same:
            x = ConvNormAct(inner, 3, **layer, use_bias=True, name="conv")(x, train)
        else:
            x = TransposedConv(inner, self.dtype, name="up")(x)
            if size[0] > x.shape[1] or size[1] > x.shape[2]:
                # Fourfold: the stem pools and the first stage strides.
                x = resize_nearest(x, size)
            x = x[:, : size[0], : size[1]]
            x = relu(Norm(self.norm, dtype=self.dtype, name="norm")(x, train))
        return ConvNormAct(self.features, 1, **layer, name="conv2")(x, train)


class TransposedConv(nn.Module):
    """4x4, stride 2, padded by one: `[b, h, w, in] -> [b, 2 h, 2 w, features]`.

    The kernel is `[4, 4, in, features]` and lies as in torch: what pixel (y, x) spreads
    over (2 y - 1 + i, 2 x - 1 + j).
    """

    features: int
    dtype: Any = jnp.float32
    size: int = 4

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        shape = (self.size, self.size, x.shape[-1], self.features)
        kernel = self.param("kernel", he_normal, shape)
        bias = self.param("bias", nn.initializers.zeros, (self.features,))
        turned = kernel[::-1, ::-1].astype(self.dtype)
        y = halo.on_rows(_spread_twofold, x.astype(self.dtype), turned, reach=1)
        return y + spread(bias.reshape(1, 1, 1, -1), y)


def _spread_twofold(x: jax.Array, kernel: jax.Array) -> jax.Array:
    return jax.lax.conv_general_dilated(
        x,
        kernel,
        window_strides=(1, 1),
        padding=((2, 2), (2, 2)),
        lhs_dilation=(2, 2),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )
