"""Resizing as torch does it, of images whose rows may lie on several devices."""

import jax
import jax.numpy as jnp
import numpy as np

from resseg.models.ops import bilinear, halo
from resseg.models.ops.choice import for_gpu
from resseg.models.ops.repeat import repeat


def size_of(x: jax.Array) -> tuple[int, int]:
    """Height and width of an image batch."""
    return x.shape[1], x.shape[2]


def resize(
    x: jax.Array, size: tuple[int, int], align_corners: bool = False
) -> jax.Array:
    """Bilinear to `[batch, *size, c]`, as torch's `interpolate`.

    Half-pixel centres, or with `align_corners` the corner pixels fall on each other.
    """
    if x.shape[1:3] == tuple(size):
        return x
    if not all(isinstance(side, int) for side in size):
        return resize_whole(x, size, align_corners)
    if align_corners and (halo.is_split() or not _by_neighbours(x, size)):
        # Where devices share the rows XLA splits the product, which has no halo.
        rows, columns = map(corner_weights, size, x.shape[1:3])
        x = jnp.einsum("yh,bhwc->bywc", rows.astype(x.dtype), x)
        return jnp.einsum("xw,bywc->byxc", columns.astype(x.dtype), x)
    if align_corners:
        return bilinear.by_neighbours(x, size, align_corners)

    def operation(own: jax.Array) -> jax.Array:
        to = _rows_of(own, x, size[0]), size[1]
        if _by_neighbours(own, to):
            return bilinear.by_neighbours(own, to, align_corners)
        shape = (own.shape[0], *to, own.shape[-1])
        return jax.image.resize(own, shape, "bilinear", antialias=False)

    return halo.on_rows(operation, x, reach=1, outside=halo.EDGE)


def _rows_of(own: jax.Array, whole: jax.Array, rows: int) -> int:
    """How many of the resized `rows` those are that `own` rows of the whole make."""
    if own.shape[1] == whole.shape[1]:
        return rows
    return round(rows / whole.shape[1] * own.shape[1])


def _by_neighbours(x: jax.Array, size: tuple[int, int]) -> bool:
    return for_gpu() and bilinear.is_whole(x, size)


def resize_whole(
    x: jax.Array, size: tuple[int, int], align_corners: bool = False
) -> jax.Array:
    """As `resize`, for an image that every device holds as a whole: a small one, or one
    whose size is a symbol.

    A product with the weights of all pixels: where devices share the rows of what it is
    enlarged to, XLA splits it, as it has no halo.
    """
    weights = corner_weights if align_corners else centre_weights
    rows, columns = map(weights, size, x.shape[1:3])
    exactly = jax.lax.Precision.HIGHEST  # on a GPU too
    rows, columns = rows.astype(x.dtype), columns.astype(x.dtype)
    x = jnp.einsum("yh,bhwc->bywc", rows, x, precision=exactly)
    return jnp.einsum("xw,bywc->byxc", columns, x, precision=exactly)


def corner_weights(to: int, of: int) -> jax.Array:
    """`[to, of]`: weights of linear interpolation with aligned corners."""
    if not isinstance(to, int):
        return _tents(jnp.arange(to) * (of - 1) / jnp.maximum(to - 1, 1), of)
    return _tents(jnp.linspace(0, of - 1, to) if to > 1 else jnp.zeros(1), of)


def centre_weights(to: int, of: int) -> jax.Array:
    """`[to, of]`: weights of linear interpolation between centres of pixels."""
    return _tents(jnp.clip((jnp.arange(to) + 0.5) * of / to - 0.5, 0, of - 1), of)


def _tents(places: jax.Array, of: int) -> jax.Array:
    return jnp.maximum(1 - jnp.abs(places[:, None] - jnp.arange(of)[None]), 0)


def resize_nearest(x: jax.Array, size: tuple[int, int]) -> jax.Array:
    """Nearest neighbour to `[batch, *size, c]`: place i shows place floor(i * of / to).

    This is torch's rule; `jax.image.resize` goes by the centres of pixels.
    """

    def operation(own: jax.Array) -> jax.Array:
        return _resize_nearest(own, (_rows_of(own, x, size[0]), size[1]))

    return halo.on_rows(operation, x)


def _resize_nearest(x: jax.Array, size: tuple[int, int]) -> jax.Array:
    for axis, to in enumerate(size, 1):
        of = x.shape[axis]
        if to % of == 0:  # also where they are symbols
            x = repeat(x, to // of, axis)
            continue
        source, ratio = np.arange(to) * of // to, -(-to // of)
        if (source == np.arange(to) // ratio).all():
            x = jax.lax.slice_in_dim(repeat(x, ratio, axis), 0, to, axis=axis)
        else:
            x = jnp.take(x, source, axis=axis)
    return x
