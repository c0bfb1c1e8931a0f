"""A convolution as one product per place of its kernel, inside the image alone.

Of a 3x3 kernel of dilation 12 on 32 x 32 pixels, 9/16 of the products meet pixels, of
dilation 36 one in nine; the rest are with padding, and never made here.
"""

import functools
from collections.abc import Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp


class Span(NamedTuple):
    """What one place of a kernel meets along one axis.

    Attributes:
        place: in the kernel.
        source: where its first pixel is in the image.
        target: where the first output that it adds to is.
        length: number of outputs; pixels are `strides` apart.
    """

    place: int
    source: int
    target: int
    length: int


def spans(side: int, size: int, strides: int, dilation: int) -> Iterator[Span]:
    """Those of an axis, without places that meet nothing but padding."""
    pad = dilation * (size - 1) // 2
    outputs = (side + 2 * pad - dilation * (size - 1) - 1) // strides + 1
    for place in range(size):
        offset = place * dilation - pad  # output t reads pixel t * strides + offset
        first = max(0, -(offset // strides))
        last = min(outputs, (side - 1 - offset) // strides + 1)
        if last > first:
            yield Span(place, first * strides + offset, first, last - first)


def share(sides: tuple[int, ...], size: int, strides: int, dilation: int) -> float:
    """The share of a kernel's products that meet pixels."""
    met = 1.0
    for side in sides:
        found = list(spans(side, size, strides, dilation))
        outputs = -(-side // strides)
        met *= sum(span.length for span in found) / (size * outputs)
    return met


def seen(x: jax.Array, rows: Span, columns: Span, strides: int) -> jax.Array:
    """The pixels that a place meets, `[batch, rows.length, columns.length, c]`."""
    top, left = rows.source, columns.source
    bottom = top + (rows.length - 1) * strides + 1
    right = left + (columns.length - 1) * strides + 1
    return x[:, top:bottom:strides, left:right:strides]


def placed(
    y: jax.Array, rows: Span, columns: Span, sides: tuple[int, int]
) -> jax.Array:
    """The same as part of the output, zero where the place met padding."""
    pads = [
        (span.target, side - span.target - span.length, 0)
        for span, side in zip((rows, columns), sides, strict=True)
    ]
    return jax.lax.pad(y, jnp.zeros((), y.dtype), ((0, 0, 0), *pads, (0, 0, 0)))


def convolve(x: jax.Array, kernel: jax.Array, strides: int, dilation: int) -> jax.Array:
    """`[batch, h, w, in] x [k, k, in, out]`, padded by dilation * (k - 1) / 2."""
    size, (height, width) = kernel.shape[0], x.shape[1:3]
    sides = -(-height // strides), -(-width // strides)
    parts = []
    for rows in spans(height, size, strides, dilation):
        for columns in spans(width, size, strides, dilation):
            part = jax.lax.dot_general(
                seen(x, rows, columns, strides),
                kernel[rows.place, columns.place],
                (((3,), (0,)), ((), ())),
            )
            parts.append(placed(part, rows, columns, sides))
    return functools.reduce(jax.lax.add, parts)
