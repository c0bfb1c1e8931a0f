"""Pooling, of images whose rows may lie on several devices."""

import functools

import jax
import jax.numpy as jnp

from resseg.models.ops import halo
from resseg.models.ops.max_pool import max_pool as by_winner


def max_pool(x: jax.Array) -> jax.Array:
    """3x3, stride 2, padded by one: `[b, h, w, c] -> [b, ceil(h/2), ceil(w/2), c]`."""
    return halo.on_rows(by_winner, x, reach=1, strides=2, outside=-jnp.inf)


def average_pool(x: jax.Array, strides: int) -> jax.Array:
    """2x2 of that stride; windows cut by the border average what they hold."""
    operation = functools.partial(_average_pool, strides=strides)
    return halo.on_rows(operation, x, strides=strides)


def _average_pool(x: jax.Array, strides: int) -> jax.Array:
    window, steps = (1, 2, 2, 1), (1, strides, strides, 1)
    padding = ((0, 0), *((0, -side % strides) for side in x.shape[1:3]), (0, 0))

    def windows(values: jax.Array) -> jax.Array:
        # A plain zero: with a traced one jax sees no windowed sum, and no gradient.
        return jax.lax.reduce_window(values, 0.0, jax.lax.add, window, steps, padding)

    return windows(x) / windows(jnp.ones((1, *x.shape[1:3], 1), x.dtype))
