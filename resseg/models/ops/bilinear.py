"""Bilinear enlargement by whole factors, from the three pixels around each place.

A GPU reads and writes each pixel once. As a product with a matrix of weights, which is
how JAX resizes, each output costs as many products as its row has pixels: in float32 a
quarter of a train step of DeepLabV3+, or with the short mantissa of tensor cores.
"""

import jax
import jax.numpy as jnp
import numpy as np


def by_neighbours(
    x: jax.Array, size: tuple[int, int], align_corners: bool
) -> jax.Array:
    """`[batch, h, w, c] -> [batch, *size, c]`, whole multiples of height and width.

    Half precision is computed in single.
    """
    wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    for axis, to in enumerate(size, 1):
        wide = _along(wide, axis, to, align_corners)
    return wide.astype(x.dtype)


def is_whole(x: jax.Array, size: tuple[int, int]) -> bool:
    """Whether `size` is a whole multiple of the image's."""
    return all(to % of == 0 for to, of in zip(size, x.shape[1:3], strict=True))


def weights(of: int, to: int, align_corners: bool) -> np.ndarray:
    """Float32 `[of, to / of, 3]`: what pixel k - 1, k and k + 1 add to place (k, i).

    Place (k, i) is output k * to / of + i. It lies between the centres of two of the
    three, however many pixels there are.
    """
    places = np.arange(to)
    if align_corners:
        source = places * (of - 1) / max(to - 1, 1)
    else:
        source = np.clip((places + 0.5) * of / to - 0.5, 0, of - 1)
    lower = np.floor(source).astype(int)
    share = source - lower
    found = np.zeros((to, 3), np.float32)
    own = places // (to // of)
    found[places, lower - own + 1] = 1 - share
    between = share > 0
    found[places[between], (lower - own + 2)[between]] = share[between]
    return found.reshape(of, to // of, 3)


def _along(x: jax.Array, axis: int, to: int, align_corners: bool) -> jax.Array:
    of = x.shape[axis]
    if of == to:
        return x
    x = jnp.expand_dims(x, axis + 1)
    # The outermost stand in for what lies outside, at weight 0.
    first = jax.lax.slice_in_dim(x, 0, 1, axis=axis)
    last = jax.lax.slice_in_dim(x, of - 1, of, axis=axis)
    inner = jax.lax.slice_in_dim(x, 0, of - 1, axis=axis)
    outer = jax.lax.slice_in_dim(x, 1, of, axis=axis)
    before = jnp.concatenate([first, inner], axis)
    after = jnp.concatenate([outer, last], axis)
    each = weights(of, to, align_corners)
    form = [1] * x.ndim
    form[axis : axis + 2] = each.shape[:2]
    left, middle, right = (each[..., i].reshape(form) for i in range(3))
    y = before * left + x * middle + after * right
    return y.reshape(*x.shape[:axis], to, *x.shape[axis + 2 :])
