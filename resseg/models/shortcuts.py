"""W_c and W_r: the shortcut, and the factors on both ways."""

import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from resseg.gradients.fork import coefficient
from resseg.gradients.names import BIAS, FACTOR, GATE, RATE
from resseg.models.layers import Conv, Norm
from resseg.models.ops import halo
from resseg.models.ops.convolution import every
from resseg.models.ops.spread import spread
from resseg.models.pooling import average_pool


def learned(kind: str) -> str:
    """What is learned of W_c: one of `plan.LEARN`."""
    return {"learned_scalar": "scalar", "learned_channel": "channel"}.get(kind, "no")


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
        return multiplied(self, x, self.learn, self.value)


def multiplied(module: nn.Module, x: jax.Array, learn: str, value: float) -> jax.Array:
    """`x` times a factor of the module, see `PathFactor`."""
    start = nn.initializers.constant(value)
    if learn == "channel":
        factor = module.param(FACTOR, start, (x.shape[-1],)).reshape(1, 1, 1, -1)
    elif learn == "scalar":
        factor = module.param(FACTOR, start, ())
    else:
        factor = coefficient(module, FACTOR, value)
    return x * spread(factor, x)


class PathDropout(nn.Module):
    """Dropout whose rate is a traced coefficient (He 2016, table 1, on the shortcut).

    What stays is divided by 1 - rate, so that the expectation is that of the input.
    """

    rate: float

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        keep = 1 - coefficient(self, RATE, self.rate)
        if not train:
            return x
        kept = jax.random.bernoulli(self.make_rng("dropout"), keep, x.shape)
        return jnp.where(kept, x / keep.astype(x.dtype), 0)


class Gate(nn.Module):
    """g(x) = sigmoid(W_g x + b_g), W_g a 1x1 convolution (He 2016, section 3.1)."""

    features: int
    strides: int = 1
    bias: float = 0.0
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = Conv(self.features, 1, self.strides, dtype=self.dtype, name="conv")(x)
        start = nn.initializers.constant(self.bias)
        bias = self.param(BIAS, start, (self.features,))
        return nn.sigmoid(x + spread(bias.reshape(1, 1, 1, -1), x))


class Delta(nn.Module):
    """b k (v - kᵀ x) in each pixel: what the branch writes over the shortcut.

    k is the branch's output at unit length, b = 2 sigmoid(u·x) and v = t·x of the
    block's input (Zhang 2026, arXiv 2601.00417, with a value of one channel). With the
    shortcut it is (I - b k kᵀ) x + b k v: the identity at b = 0, without its part along
    k at b = 1, mirrored at b = 2.

    Attributes:
        start: b before anything is learned, between 0 and 2.
    """

    start: float
    strides: int = 1
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self, x: jax.Array, branch: jax.Array, carried: jax.Array
    ) -> jax.Array:
        gates = Conv(2, 1, self.strides, dtype=self.dtype, name="conv")(x)
        odds = math.log(self.start / (2 - self.start))
        bias = self.param(BIAS, nn.initializers.constant(odds), (1,))
        bias = bias.reshape(1, 1, 1, 1)
        strength, value = gates[..., :1], gates[..., 1:]
        strength = 2 * nn.sigmoid(strength + spread(bias, strength))
        long = branch.astype(jnp.float32)
        squares = jnp.sum(long * long, axis=-1, keepdims=True)
        key = long * jax.lax.rsqrt(squares + jnp.finfo(jnp.float32).tiny)
        along = jnp.sum(key * carried.astype(jnp.float32), axis=-1, keepdims=True)
        written = strength.astype(jnp.float32) * (value.astype(jnp.float32) - along)
        return (written * key).astype(branch.dtype)


class LongSkip(nn.Module):
    """A feature on its way to a head: times kappa and, if `gated`, times g of itself.

    Attributes:
        scale: kappa, a coefficient, or what a learned one starts from.
        gated: multiply by the sigmoid of its 1x1 convolution, of bias 0 at the start.
        learn: as in `PathFactor`.
    """

    scale: float = 1.0
    gated: bool = False
    dtype: Any = jnp.float32
    learn: str = "no"

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        if self.gated:
            x = x * Gate(x.shape[-1], dtype=self.dtype, name=GATE)(x)
        return multiplied(self, x, self.learn, self.scale)


class Shortcut(nn.Module):
    """P(x): the identity, or what makes the shapes meet where they differ.

    Transitions, by the letters of He 2015 (section 4.1) and He 2019 (figure 2):

    - A: every `strides`-th pixel, missing channels are zero; no parameters.
    - B: a 1x1 convolution where the shape changes.
    - C: a 1x1 convolution in every block.
    - D: as B, behind a 2x2 average pooling that does the striding.
    - none: no shortcut where the shape changes (Sandler 2018); the block leaves it out.

    Projections are normalised in post-activation networks and bare in pre-activation
    networks (He 2016).

    Attributes:
        kind: one of `plan.SHORTCUT_KINDS`; conv1x1 projects in every block, whatever
            the transition.
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
        strides = self.strides
        x = halo.on_rows(lambda x: every(x, strides), x, strides=strides)
        return jnp.pad(x, ((0, 0), (0, 0), (0, 0), (0, missing)))
