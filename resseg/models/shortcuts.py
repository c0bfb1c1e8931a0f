"""W_c and W_r: the shortcut, and the factors on both ways."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from resseg.models.layers import Conv, Norm

SHORTCUT_KINDS = ("identity", "none", "conv1x1")
LEARN = ("no", "scalar", "channel")


def changes_shape(x: jax.Array, features: int, strides: int) -> bool:
    """True where a shortcut cannot be the identity. `features`: true output width."""
    return strides != 1 or x.shape[-1] != features


class PathFactor(nn.Module):
    """Multiplies a path by W: a constant of the `paths` collection, or learned.

    Attributes:
        learn: no (a traced constant), scalar, channel (`[channels]`).
        value: the constant, or what the learned factor starts from.
    """

    learn: str = "no"
    value: float = 1.0

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        start = nn.initializers.constant(self.value)
        if self.learn == "channel":
            factor = self.param("factor", start, (x.shape[-1],)).reshape(1, 1, 1, -1)
        elif self.learn == "scalar":
            factor = self.param("factor", start, ())
        else:
            constant = self.variable(
                "paths", "factor", jnp.asarray, self.value, jnp.float32
            )
            factor = constant.value
        return x * factor.astype(x.dtype)


class Shortcut(nn.Module):
    """P(x): the identity, or a 1x1 projection where the shape changes or as asked.

    The projection is normalised in post-activation networks (He 2015, option B) and
    bare in pre-activation networks (He 2016).
    """

    kind: str
    features: int
    strides: int
    norm: str
    normalized: bool = True
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        if not (
            self.kind == "conv1x1" or changes_shape(x, self.features, self.strides)
        ):
            return x
        x = Conv(self.features, 1, self.strides, dtype=self.dtype, name="conv")(x)
        if self.normalized:
            x = Norm(self.norm, dtype=self.dtype, name="norm")(x, train)
        return x
