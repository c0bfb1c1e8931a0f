"""Pooling whose gradient remembers the winner of each window.

XLA's own gradient of a windowed maximum compares each window again, in a sort with
running numbers: a tenth of a U-Net's train step on a CPU; on a GPU it scatters.
"""

import jax
import jax.numpy as jnp

from resseg.models.ops.choice import Formulation, current

SIZE, STRIDE = 3, 2


def max_pool(x: jax.Array) -> jax.Array:
    """3x3, stride 2, padded by one: `[b, h, w, c] -> [b, ceil(h/2), ceil(w/2), c]`.

    The first of equal pixels receives the gradient, as in torch; a NaN wins.
    """
    return plain(x) if current() is Formulation.PLAIN else _by_winner(x)


def plain(x: jax.Array) -> jax.Array:
    """As XLA has it."""
    window, strides = (1, SIZE, SIZE, 1), (1, STRIDE, STRIDE, 1)
    padding = ((0, 0), (1, 1), (1, 1), (0, 0))
    return jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, window, strides, padding)


@jax.custom_jvp
def _by_winner(x: jax.Array) -> jax.Array:
    return plain(x)


@_by_winner.defjvp
def _by_winner_tangent(primals, tangents):
    (x,), (tangent,) = primals, tangents
    windows = [*_windows(x, -jnp.inf)]
    best, winner = windows[0], jnp.zeros(windows[0].shape, jnp.int8)
    for number, pixels in enumerate(windows[1:], 1):
        ahead = (pixels > best) | jnp.isnan(pixels)
        best = jnp.where(ahead, pixels, best)
        winner = jnp.where(ahead, jnp.int8(number), winner)
    best, winner = jax.lax.optimization_barrier((best, winner))
    chosen = jnp.zeros_like(best)
    for number, pixels in enumerate(_windows(tangent, 0.0)):
        chosen = chosen + jnp.where(winner == number, pixels, 0)
    return best, chosen


def _windows(x, outside):
    """Its nine places, first rows, then columns: what each shows to every window.

    Cut from the four parities of rows and columns, which are contiguous after one
    reordering; its transpose interleaves four sums and scatters nothing.
    """
    b, h, w, c = x.shape
    rows, columns = -(-h // STRIDE), -(-w // STRIDE)
    edges = [(1, 2 * (n + 1) - side - 1, 0) for n, side in ((rows, h), (columns, w))]
    none = (0, 0, 0)
    padded = jax.lax.pad(x, jnp.array(outside, x.dtype), (none, *edges, none))
    split = padded.reshape(b, rows + 1, STRIDE, columns + 1, STRIDE, c)
    for i in range(SIZE):
        for j in range(SIZE):
            plane = split[:, :, i % STRIDE, :, j % STRIDE]
            y, x0 = i // STRIDE, j // STRIDE
            yield plane[:, y : y + rows, x0 : x0 + columns]
