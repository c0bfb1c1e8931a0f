"""Bilinear enlargement by whole factors, from the three pixels around each place.

A GPU reads and writes each pixel once. As a product with a matrix of weights, which is
how JAX resizes, each output costs as many products as its row has pixels, at the rate
of float32 or with the short mantissa of tensor cores.
"""

import functools

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
    cut = functools.partial(jax.lax.slice_in_dim, x, axis=axis)
    # The outermost stand in for what lies outside, at weight 0.
    before = jnp.concatenate([cut(0, 1), cut(0, of - 1)], axis)
    after = jnp.concatenate([cut(1, of), cut(of - 1, of)], axis)
    form = [1] * x.ndim
    form[axis] = of
    # Place by place: the gradient is then a sum of strided slices, one loop. As one
    # product it would reduce an axis as short as the factor, which XLA gives to a
    # kernel that is made for long ones.
    places = []
    for each in weights(of, to, align_corners).transpose(1, 2, 0):
        left, middle, right = (share.reshape(form) for share in each)
        places.append(before * left + x * middle + after * right)
    return jnp.stack(places, axis + 1).reshape(
        *x.shape[:axis], to, *x.shape[axis + 1 :]
    )
