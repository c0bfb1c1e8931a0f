"""A kernel of its own for every channel, as shifted multiply-adds.

XLA's CPU backend runs the gradients of grouped convolutions below 1 GFLOP/s.
"""

import jax

from resseg.models.ops.taps import placed, seen, spans


def convolve(x: jax.Array, kernel: jax.Array, strides: int, dilation: int) -> jax.Array:
    """`[batch, h, w, c] x [k, k, 1, m c] -> [batch, h, w, m c]`."""
    size, sides = kernel.shape[0], tuple(-(-s // strides) for s in x.shape[1:3])
    x = x.repeat(kernel.shape[-1] // x.shape[-1], axis=-1)
    total = None
    for rows in spans(x.shape[1], size, strides, dilation):
        for columns in spans(x.shape[2], size, strides, dilation):
            weights = kernel[rows.place, columns.place]  # [1, c]
            part = seen(x, rows, columns, strides) * weights[None, None]
            part = placed(part, rows, columns, sides)
            total = part if total is None else total + part
    return total
