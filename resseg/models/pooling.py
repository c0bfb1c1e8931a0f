"""Pooling, of images whose rows may lie on several devices."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import max_dim

from resseg.models.ops import halo
from resseg.models.ops.max_pool import max_pool as by_winner


def max_pool(x: jax.Array) -> jax.Array:
    """3x3, stride 2, padded by one: `[b, h, w, c] -> [b, ceil(h/2), ceil(w/2), c]`."""
    return halo.on_rows(by_winner, x, reach=1, strides=2, outside=-jnp.inf)


def halved_max_pool(x: jax.Array) -> jax.Array:
    """2x2, stride 2: `[b, h, w, c] -> [b, h // 2, w // 2, c]`; one pixel stays one."""
    lowest = -jnp.inf
    if not all(isinstance(side, int) for side in x.shape):
        return _halved_of_any_size(x)
    window = (1, *(min(2, side) for side in x.shape[1:3]), 1)

    def operation(x: jax.Array) -> jax.Array:
        return jax.lax.reduce_window(x, lowest, jax.lax.max, window, window, "VALID")

    return halo.on_rows(operation, x, strides=window[1])


def _halved_of_any_size(x: jax.Array) -> jax.Array:
    """The same where sizes are symbols: beside a single pixel stands -inf."""
    lowest = jnp.asarray(-jnp.inf, x.dtype)
    missing = [(0, max_dim(2, side) - side, 0) for side in x.shape[1:3]]
    x = jax.lax.pad(x, lowest, [(0, 0, 0), *missing, (0, 0, 0)])
    window = (1, 2, 2, 1)
    return jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, window, window, "VALID")


def adaptive_average_pool(x: jax.Array, size: int) -> jax.Array:
    """Means over a grid of windows: `[b, h, w, c] -> [b, size, size, c]`, as torch.

    Window i holds the rows floor(i * h / size) to ceil((i + 1) * h / size). A product
    with ones and zeros: where devices share the rows, XLA splits it, as it has no halo,
    and each gets all windows.
    """
    rows, columns = (_windows(size, of) for of in x.shape[1:3])
    settings: dict[str, Any] = {
        "precision": jax.lax.Precision.HIGHEST,
        "preferred_element_type": jnp.float32,
    }
    held = jnp.asarray(rows, x.dtype), jnp.asarray(columns, x.dtype)
    sums = jnp.einsum("yh,bhwc,xw->byxc", held[0], x, held[1], **settings)
    counts = (rows.sum(1)[:, None] * columns.sum(1)[None])[None, :, :, None]
    return (sums / counts).astype(x.dtype)


def _windows(count: int, of: int) -> np.ndarray | jax.Array:
    """Float32 `[count, of]`: 1 where a window holds a row."""
    library: Any = np if isinstance(of, int) else jnp
    size, row = library.asarray(of), library.arange(of)[None]
    number = library.arange(count)[:, None]
    begin, end = number * size // count, -(-(number + 1) * size // count)
    return ((begin <= row) & (row < end)).astype(np.float32)


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
