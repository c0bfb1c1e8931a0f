"""What a training does to the ways of a block at random, and evaluation does not."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp

from resseg.gradients.apart import apart
from resseg.gradients.fork import coefficient
from resseg.gradients.names import RATE
from resseg.models.ops import halo

_PER_IMAGE = (1, 1, 1)


class DropPath(nn.Module):
    """Images leave the branch out with a probability that a schedule may move.

    ScheduledDropPath of Zoph 2018, sec. 3: what stays is divided by 1 - rate.
    """

    rate: float

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        keep = 1 - coefficient(self, RATE, self.rate)
        if not train:
            return x
        shape = (x.shape[0], *_PER_IMAGE)
        kept = jax.random.bernoulli(self.make_rng("dropout"), keep, shape)
        return x * (kept / keep).astype(x.dtype)


class DropBlock(nn.Module):
    """Zeroes squares of a feature, channel by channel (Ghiasi 2018, algorithm 1).

    Centres are drawn where the whole square lies inside, at the rate of eq. 1, so that
    about the share `rate` is dropped; less where squares overlap. What stays is
    multiplied by the number of all over the number of those that stay, which keeps the
    mean of a constant feature exactly.

    Attributes:
        rate: share that is dropped, about; a coefficient.
        size: side of the squares, features; the next odd number below, and at most the
            feature's.
    """

    rate: float
    size: int

    @nn.compact
    def __call__(self, x: jax.Array, train: bool) -> jax.Array:
        rate = coefficient(self, RATE, self.rate)
        if not train:
            return x
        height, width = x.shape[1:3]
        side = min(self.size, height, width)
        side -= 1 - side % 2
        rows, columns = height - side + 1, width - side + 1
        share = rate * (height * width) / (side * side * rows * columns)
        drawn = jax.random.bernoulli(self.make_rng("dropout"), share, x.shape)
        centres = drawn & _inside(height, side, 1) & _inside(width, side, 2)
        squares = halo.on_rows(
            functools.partial(_grown, side=side),
            centres.astype(jnp.float32),
            reach=side // 2,
        )
        kept = 1 - jax.lax.stop_gradient(squares)
        scale = kept.size / jnp.maximum(kept.sum(), 1)
        return x * (kept * scale).astype(x.dtype)


def _inside(length: int, side: int, axis: int) -> jax.Array:
    """Where a centre may be along an axis of `[batch, height, width, channels]`."""
    place = jax.lax.broadcasted_iota(
        jnp.int32, tuple(length if i == axis else 1 for i in range(4)), axis
    )
    return (place >= side // 2) & (place < length - side // 2)


def _grown(centres: jax.Array, side: int) -> jax.Array:
    """1 within `side` / 2 of a centre, else 0."""
    for window in ((1, side, 1, 1), (1, 1, side, 1)):
        centres = jax.lax.reduce_window(
            centres, 0.0, jax.lax.max, window, (1, 1, 1, 1), "SAME"
        )
    return centres


class ShakeShake(nn.Module):
    """Two branches mixed at random, backward otherwise than forward (Gastaldi 2017).

    Forward α · one + (1 - α) · other, backward β and 1 - β, drawn for each image; ½ and
    ½ in evaluation.

    Attributes:
        forward: shake (α uniform in [0, 1]) or even (½).
        backward: shake (β uniform in [0, 1]), even (½) or keep (β = α).
    """

    forward: str = "shake"
    backward: str = "shake"

    @nn.compact
    def __call__(self, one: jax.Array, other: jax.Array, train: bool) -> jax.Array:
        if not train:
            return (one + other) / 2
        shape = (one.shape[0], *_PER_IMAGE)
        keys = jax.random.split(self.make_rng("dropout"))
        alpha, beta = _factors(self.forward, self.backward, keys, shape, 0.0)
        return apart(one, alpha, beta) + apart(other, 1 - alpha, 1 - beta)


class ShakeDrop(nn.Module):
    """A branch that is shaken in some images (Yamada 2019, eq. 4 to 6).

    With the probability `rate` it is multiplied by α forward and by β backward, else by
    1; in evaluation by what it is multiplied by on average.

    Attributes:
        rate: a coefficient; published from 0 at the first block to 0.5 at the last.
        forward: shake (α uniform in [-1, 1]) or even (0).
        backward: shake (β uniform in [0, 1]), even (½) or keep (β = α).
    """

    rate: float
    forward: str = "shake"
    backward: str = "shake"

    @nn.compact
    def __call__(self, y: jax.Array, train: bool) -> jax.Array:
        rate = coefficient(self, RATE, self.rate)
        if not train:
            return y * (1 - rate).astype(y.dtype)
        shape = (y.shape[0], *_PER_IMAGE)
        of_shaken, *keys = jax.random.split(self.make_rng("dropout"), 3)
        alpha, beta = _factors(self.forward, self.backward, keys, shape, -1.0)
        shaken = jax.random.bernoulli(of_shaken, rate, shape)
        return apart(y, jnp.where(shaken, alpha, 1.0), jnp.where(shaken, beta, 1.0))


def _factors(forward, backward, keys, shape, lowest):
    """α in [lowest, 1] and β in [0, 1], as `ShakeShake` and `ShakeDrop` draw them."""
    alpha = jnp.full(shape, (lowest + 1) / 2)
    if forward == "shake":
        alpha = jax.random.uniform(keys[0], shape, minval=lowest)
    if backward == "keep":
        return alpha, alpha
    if backward == "even":
        return alpha, jnp.full(shape, 0.5)
    return alpha, jax.random.uniform(keys[1], shape)
