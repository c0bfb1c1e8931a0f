"""A kernel of its own for every channel, as shifted multiply-adds.

XLA's CPU backend runs the gradients of grouped convolutions below 1 GFLOP/s; on a GPU
they are a loop over memory.
"""

import functools

import jax
import jax.numpy as jnp

from resseg.models.ops.taps import placed, seen, spans


def convolve(x: jax.Array, kernel: jax.Array, strides: int, dilation: int) -> jax.Array:
    """`[batch, h, w, c] x [k, k, 1, m c] -> [batch, h, w, m c]`.

    Half precision is summed in single.
    """
    dtype, x = x.dtype, x.astype(jnp.promote_types(x.dtype, jnp.float32))
    kernel = kernel.astype(x.dtype)
    size, (height, width) = kernel.shape[0], x.shape[1:3]
    sides = -(-height // strides), -(-width // strides)
    x = x.repeat(kernel.shape[-1] // x.shape[-1], axis=-1)
    parts = []
    for rows in spans(height, size, strides, dilation):
        for columns in spans(width, size, strides, dilation):
            weights = kernel[rows.place, columns.place]  # [1, c]
            part = seen(x, rows, columns, strides) * weights[None, None]
            parts.append(placed(part, rows, columns, sides))
    return functools.reduce(jnp.add, parts).astype(dtype)
