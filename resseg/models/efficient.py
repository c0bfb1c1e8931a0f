"""What stands in blocks that do with fewer weights in place of a convolution."""

import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from resseg.models.layers import Conv
from resseg.models.ops.relu import relu


def relu6(x: jax.Array) -> jax.Array:
    """min(max(x, 0), 6)"""
    return jnp.minimum(relu(x), 6)


def depthwise(features: int, init_scale: float = 1.0, **settings: Any) -> Conv:
    """A kernel of its own for every channel, drawn for the values that it puts out.

    He's rule counts all channels as those that a kernel reaches; here it is one.
    """
    scale = init_scale * math.sqrt(features)
    return Conv(features, groups=features, init_scale=scale, **settings)


class Separable(nn.Module):
    """A depthwise 3x3 and a 1x1 with nothing between them (Chollet 2017, section 4.7).

    Attributes are those of a `Conv`; `init_scale` is of the 1x1.
    """

    features: int
    strides: int = 1
    dilation: int = 1
    dtype: Any = jnp.float32
    standardized: bool = False
    init_scale: float = 1.0

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        shared: dict[str, Any] = {
            "dtype": self.dtype,
            "standardized": self.standardized,
        }
        x = depthwise(
            x.shape[-1],
            strides=self.strides,
            dilation=self.dilation,
            name="depthwise",
            **shared,
        )(x)
        return Conv(
            self.features, 1, init_scale=self.init_scale, name="pointwise", **shared
        )(x)


class Ghost(nn.Module):
    """A 1x1 to half the channels; a depthwise 3x3 of them is the other half (Han 2020).

    Both parts are linear, equations 3 and 4: norm and activation stand behind all
    channels. Of an odd number the 1x1 has one more.

    Attributes are those of a `Conv`; `dilation` is of the 3x3, `init_scale` of the 1x1.
    """

    features: int
    dilation: int = 1
    dtype: Any = jnp.float32
    standardized: bool = False
    init_scale: float = 1.0

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        shared: dict[str, Any] = {
            "dtype": self.dtype,
            "standardized": self.standardized,
        }
        cheap = self.features // 2
        x = Conv(
            self.features - cheap,
            1,
            init_scale=self.init_scale,
            name="primary",
            **shared,
        )(x)
        if not cheap:
            return x
        ghosts = depthwise(cheap, dilation=self.dilation, name="cheap", **shared)
        return jnp.concatenate([x, ghosts(x[..., :cheap])], axis=-1)
