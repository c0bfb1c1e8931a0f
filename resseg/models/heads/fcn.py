"""FCN: the one-scale head of torchvision, and the skip fusion of Long et al. 2015."""

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from resseg.gradients.names import CLASSIFIER, SCORE, SKIP_FACTOR, UPSAMPLE
from resseg.models.layers import Classifier, ConvNormAct
from resseg.models.ops import halo
from resseg.models.shortcuts import LongSkip


class FCN(nn.Module):
    """3x3 convolution to a quarter of the channels, dropout, classifier.

    Attributes:
        feature: key of the feature it reads; "" = the deepest stage.
    """

    num_classes: int
    feature: str = ""
    dropout: float = 0.1
    norm: str = "batch"
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, features: dict[str, jax.Array], train: bool) -> jax.Array:
        x = features[self.feature or deepest(features)]
        inner = max(x.shape[-1] // 4, 1)
        x = ConvNormAct(inner, norm=self.norm, dtype=self.dtype, name="conv")(x, train)
        return Classifier(self.num_classes, self.dropout, self.dtype, name=CLASSIFIER)(
            x, train
        )


class SkipFCN(nn.Module):
    """FCN-32s, -16s, -8s: stage scores, upsampled and added from deep to shallow.

    Upsampling between stages is a transposed convolution that starts as bilinear
    interpolation and whose kernel, twice the stride, covers every output pixel; the
    last one, to the image, is fixed bilinear interpolation, as in the paper.

    Attributes:
        skips: stages whose scores are added, shallow first: () for 32s, one for 16s,
            two for 8s.
    """

    num_classes: int
    skips: tuple[str, ...] = ()
    skip_scales: tuple[float, ...] = ()
    gated: bool = False
    dropout: float = 0.0
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, features: dict[str, jax.Array], train: bool) -> jax.Array:
        scales = self.skip_scales or (1.0,) * len(self.skips)

        def score(stage: str) -> jax.Array:
            classifier = Classifier(
                self.num_classes, self.dropout, self.dtype, name=f"{SCORE}{stage}"
            )
            return classifier(features[stage], train)

        x = score(deepest(features))
        for stage, scale in reversed(list(zip(self.skips, scales, strict=True))):
            skip = LongSkip(
                scale, self.gated, self.dtype, name=f"{SKIP_FACTOR}{stage}"
            )(score(stage))
            ratio = _ratio(skip.shape[1], x.shape[1])
            if ratio > 1:
                x = Upsample(ratio, self.dtype, name=f"{UPSAMPLE}{stage}")(x)
            x = x[:, : skip.shape[1], : skip.shape[2]] + skip
        return x


def _ratio(rows: int, of: int) -> int:
    """Nearest whole one; exact ones are found where sizes are symbols, too."""
    return rows // of if rows % of == 0 else round(rows / of)


class Upsample(nn.Module):
    """Transposed convolution that starts as bilinear interpolation of each channel."""

    ratio: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        kernel = self.param(
            "kernel", lambda key: bilinear_kernel(self.ratio, x.shape[-1])
        )
        low = 2 * self.ratio - 1 - self.ratio // 2
        high = 2 * self.ratio - 1 - (self.ratio - self.ratio // 2)
        operation = functools.partial(
            jax.lax.conv_general_dilated,
            window_strides=(1, 1),
            padding=((low, high), (low, high)),
            lhs_dilation=(self.ratio, self.ratio),
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )
        return halo.on_rows(operation, x, kernel.astype(self.dtype), reach=1)


def bilinear_kernel(ratio: int, channels: int) -> jax.Array:
    """`[2r, 2r, c, c]`: the tent of bilinear interpolation, on the channel diagonal."""
    tent = 1 - np.abs((np.arange(2 * ratio) + 0.5 - ratio) / ratio)
    kernel = np.outer(tent, tent)[:, :, None, None] * np.eye(channels)
    return jnp.asarray(kernel, jnp.float32)


def deepest(features: dict[str, jax.Array]) -> str:
    """Key of the last stage."""
    stages = [key for key in features if key.startswith("stage")]
    return max(stages, key=lambda stage: int(stage.removeprefix("stage")))
