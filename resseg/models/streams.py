"""Hyper-connections: what blocks of a stage hand on is several streams (Zhu 2024).

A block reads one signal out of n streams, x = h_pre X, and writes what its branch makes
of it to all of them:

    X' = H X + h_post h(x; W)        H: n x n, h_pre and h_post: n numbers

so that H takes the place of the identity. Streams lie behind each other in the
channels, `[batch, height, width, n * channels]`. Free, H starts as the identity, h_pre
as one stream, another in each block, h_post as ones (Zhu 2024, section 2.3). Where H is
doubly stochastic (mHC, Xie 2025, section 4) it starts near the identity, h_pre lies
between 0 and 1 and starts near one stream, h_post between 0 and 2 and starts as ones.
All streams are copies of one signal at the head of a stage and their mean is its end,
so that either network starts as the plain one.
"""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp

from resseg.gradients.mixing import doubly_stochastic
from resseg.gradients.names import LOGITS, MIXING, READ, WRITE
from resseg.models.ops.spread import spread

NEAR = 3.0  # logit by which a stream first keeps itself; far from it nothing would move
FIRST_SHARE = 0.9  # that a block first reads of one stream, another in each block


def copies(x: jax.Array, count: int) -> jax.Array:
    """`count` streams, each of them `x`."""
    return jnp.concatenate([x] * count, axis=-1)


def mean(x: jax.Array, count: int) -> jax.Array:
    """Of `count` streams."""
    return functools.reduce(jnp.add, parts(x, count)) / count


def parts(x: jax.Array, count: int) -> list[jax.Array]:
    """The streams, each `[batch, height, width, channels]`."""
    return jnp.split(x, count, axis=-1)


def weighed(streams: list[jax.Array], weights: jax.Array) -> jax.Array:
    """Their sum, each times its own of the weights `[n]`."""
    each = (x * spread(weights[i], x) for i, x in enumerate(streams))
    return functools.reduce(jnp.add, each)


class StreamMix(nn.Module):
    """H X."""

    streams: int
    constrained: bool

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        eye = jnp.eye(self.streams)
        if self.constrained:
            logits = self.param(MIXING + LOGITS, lambda _: NEAR * eye)
            mixing = doubly_stochastic(logits)
        else:
            mixing = self.param(MIXING, lambda _: eye)
        each = parts(x, self.streams)
        rows = [weighed(each, row) for row in mixing]
        return jnp.concatenate(rows, axis=-1)


class StreamRead(nn.Module):
    """h_pre X: what the branch of a block sees.

    Attributes:
        number: of the block among those of its stage.
    """

    streams: int
    constrained: bool
    number: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        count = self.streams
        if self.constrained:
            logits = self.param(READ + LOGITS, lambda _: self.first_shares())
            weights = nn.sigmoid(logits)
        else:
            weights = self.param(READ, lambda _: jnp.eye(count)[self.number % count])
        return weighed(parts(x, count), weights)

    def first_shares(self) -> jax.Array:
        """Logits of shares that add up to 1: streams read alike would stay alike."""
        others = (1 - FIRST_SHARE) / (self.streams - 1)
        own = jnp.arange(self.streams) == self.number % self.streams
        return jax.scipy.special.logit(jnp.where(own, FIRST_SHARE, others))


class StreamWrite(nn.Module):
    """h_post h: what the branch of a block adds to each stream."""

    streams: int
    constrained: bool

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        count = self.streams
        if self.constrained:
            logits = self.param(WRITE + LOGITS, lambda _: jnp.zeros(count))
            weights = 2 * nn.sigmoid(logits)
        else:
            weights = self.param(WRITE, lambda _: jnp.ones(count))
        each = (x * spread(weights[i], x) for i in range(count))
        return jnp.concatenate(list(each), axis=-1)
