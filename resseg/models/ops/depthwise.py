"""A kernel of its own for every channel, as shifted multiply-adds.

XLA's CPU backend runs the gradients of grouped convolutions below 1 GFLOP/s; on a GPU
they are a loop over memory.
"""

import functools

import jax
import jax.numpy as jnp

from resseg.models.ops.choice import for_gpu
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
    if for_gpu():
        return _padded(x, kernel, strides, dilation).astype(dtype)
    parts = []
    for rows in spans(height, size, strides, dilation):
        for columns in spans(width, size, strides, dilation):
            weights = kernel[rows.place, columns.place]  # [1, c]
            part = seen(x, rows, columns, strides) * weights[None, None]
            parts.append(placed(part, rows, columns, sides))
    return functools.reduce(jnp.add, parts).astype(dtype)


def _padded(x, kernel, strides, dilation):
    """All places see as much: the sums for their weights can share one pass."""
    size, (height, width) = kernel.shape[0], x.shape[1:3]
    pad = dilation * (size - 1) // 2
    around = ((0, 0), (pad, pad), (pad, pad), (0, 0))
    wide, parts = jnp.pad(x, around), []
    for rows in spans(height, size, strides, dilation):
        for columns in spans(width, size, strides, dilation):
            row, column = rows.place, columns.place
            top, left = row * dilation, column * dilation
            met = wide[:, top : top + height : strides, left : left + width : strides]
            parts.append(met * kernel[row, column][None, None])
    return functools.reduce(jnp.add, parts)
