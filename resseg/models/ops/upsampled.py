"""A convolution over what is upsampled twofold first, without upsampling it.

Of the 3x3 pixels that a kernel sees in an image of doubled pixels, at most 2x2 differ:
an output in an even row sees one row above and two that are the same, so that two rows
of the kernel may be added first. Four kernels of 2x2 on the small image, one for each
parity of row and column, are 4/9 of the products, and the large image is never made.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from resseg.models.ops.choice import for_cpu
from resseg.models.ops.convolution import LAYOUT, convolve
from resseg.models.ops.halo import is_split

FEWEST = 64  # pixels of the small image; below, four small convolutions cost more


class Upsampled(NamedTuple):
    """`low` with every pixel 2x2 times, and behind its channels those of `skip`.

    Attributes:
        low: `[batch, h, w, c]`.
        skip: `[batch, 2 h, 2 w, d]`, or None.
    """

    low: jax.Array
    skip: jax.Array | None

    @property
    def channels(self) -> int:
        return self.low.shape[-1] + (0 if self.skip is None else self.skip.shape[-1])

    def convolve(self, kernel: jax.Array) -> jax.Array:
        """3x3, stride 1: `[3, 3, c + d, out] -> [batch, 2 h, 2 w, out]`."""
        inner = self.low.shape[-1]
        y = _interleaved(self.low, kernel[:, :, :inner])
        if self.skip is not None:
            y = y + convolve(self.skip, kernel[:, :, inner:], 1, 1, 1)
        return jax.lax.optimization_barrier(y)


def worthwhile(low: jax.Array, size: tuple[int, int]) -> bool:
    """Whether a 3x3 convolution over `low`, upsampled to `size`, is better done so."""
    if not for_cpu() or is_split():
        return False
    height, width = low.shape[1:3]
    exact = size == (2 * height, 2 * width)
    return exact and height * width >= FEWEST and low.dtype == jnp.float32


def _interleaved(low, kernel):
    rows = []
    for i in (0, 1):
        of_row = _added(kernel, i, axis=0)
        columns = []
        for j in (0, 1):
            y = jax.lax.conv_general_dilated(
                low,
                _added(of_row, j, axis=1),
                window_strides=(1, 1),
                padding=((1 - i, i), (1 - j, j)),
                dimension_numbers=LAYOUT,
            )
            columns.append(jax.lax.optimization_barrier(y))
        rows.append(jnp.stack(columns, 3))
    y = jnp.stack(rows, 2)
    batch, height, _, width, _, outputs = y.shape
    return y.reshape(batch, 2 * height, 2 * width, outputs)


def _added(kernel, parity, axis):
    """The two different taps that an output of this parity has along an axis."""
    first, middle, last = jnp.split(kernel, 3, axis)
    pair = [first, middle + last] if parity == 0 else [first + middle, last]
    return jnp.concatenate(pair, axis)
