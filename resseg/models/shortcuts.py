"""W_c and W_r: the shortcut, and the factors on both ways."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from resseg.models.layers import Conv, Norm, average_pool

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
    """P(x): the identity, or what makes the shapes meet where they differ.

    Transitions, by the letters of He 2015 (section 4.1) and He 2019 (figure 2):

    - A: every `strides`-th pixel, missing channels are zero; no parameters.
    - B: a 1x1 convolution where the shape changes.
    - C: a 1x1 convolution in every block.
    - D: as B, behind a 2x2 average pooling that does the striding.

    Projections are normalised in post-activation networks and bare in pre-activation
    networks (He 2016).

    Attributes:
        kind: identity, or conv1x1: a 1x1 convolution in every block, whatever the
            transition.
        features: true output width.
    """

    kind: str
    features: int
    strides: int
    norm: str
    normalized: bool = True
    dtype: Any = jnp.float32
    transition: str = "B"
    standardized: bool = False

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        if not self.projects(x):
            return self.zero_padded(x)
        strides = self.strides
        if self.transition == "D" and strides > 1:
            x, strides = average_pool(x, strides), 1
        x = Conv(
            self.features,
            1,
            strides,
            dtype=self.dtype,
            standardized=self.standardized,
            name="conv",
        )(x)
        if self.normalized:
            x = Norm(self.norm, dtype=self.dtype, name="norm")(x, train)
        return x

    def projects(self, x: jax.Array) -> bool:
        if self.kind == "conv1x1" or self.transition == "C":
            return True
        return self.transition != "A" and changes_shape(x, self.features, self.strides)

    def zero_padded(self, x: jax.Array) -> jax.Array:
        """The identity where nothing changes."""
        if not changes_shape(x, self.features, self.strides):
            return x
        missing = self.features - x.shape[-1]
        if missing < 0:
            raise ValueError(
                f"a shortcut A cannot go from {x.shape[-1]} to {self.features} channels"
            )
        x = x[:, :: self.strides, :: self.strides]
        return jnp.pad(x, ((0, 0), (0, 0), (0, 0), (0, missing)))
