"""The gradient of a kernel as a convolution that oneDNN is good at.

    dw[i, j, c, o] = sum over b, y, x of  image[b, y + i, x + j, c] g[b, y, x, o]

XLA takes `b` for the channels and `c` for the batch of a convolution whose output is 3
pixels wide, so that the inner loop of oneDNN has 3 turns. Here `c` is a third axis of
space, where the kernel has extent 1: the output is as wide as there are channels, and
comes out in the layout of a kernel.

What stands below is the linear map of which that is the transpose: a convolution whose
kernel has the extent of all channels along that axis.
"""

import jax
import jax.numpy as jnp

LANES = 16  # float32 numbers of a vector register (AVX-512)
FEWEST = 8  # images to sum over at a time: fewer leave lanes idle
LAYOUT = ("CNHWD", "IHWDO", "NHWDC")  # one channel; those of the image are depth
BY_INPUTS = ("NHWCD", "OHWID", "NCHWD")  # the kernel is the image, the image the kernel


def tangent(x: jax.Array, kernel: jax.Array, dilation: int) -> jax.Array:
    """The convolution of stride 1, in the form whose transpose in `kernel` is fast.

    Args:
        x: `[batch, h, w, in]`, float32.
        kernel: `[k, k, in, out]`.
    """
    size, height = kernel.shape[0], x.shape[1]
    pad = dilation * (size - 1) // 2
    count = strips(x.shape[0], height)
    if count > 1:
        parts = jax.lax.pad(x, 0.0, ((0, 0, 0), (pad, pad, 0), (pad, pad, 0), (0, 0, 0)))
        tall = height // count
        rows = [parts[:, i * tall : (i + 1) * tall + 2 * pad] for i in range(count)]
        y = _convolve(jnp.concatenate(rows), kernel, dilation, 0)
        return jnp.concatenate(jnp.split(y, count), axis=1)
    return _convolve(x, kernel, dilation, pad)


def strips(batch: int, height: int) -> int:
    """Into how many strips of rows each image is cut, all of them as a batch."""
    count = 1
    while batch * count < FEWEST and height % (2 * count) == 0 and height > 2 * count:
        count *= 2
    return count


def _convolve(x: jax.Array, kernel: jax.Array, dilation: int, pad: int) -> jax.Array:
    inputs, outputs = kernel.shape[2:]
    if outputs % LANES and not inputs % LANES:
        return _by_inputs(x, kernel, dilation, pad)
    y = jax.lax.conv_general_dilated(
        x[None],
        kernel[None],
        (1, 1, 1),
        ((pad, pad), (pad, pad), (0, 0)),
        rhs_dilation=(dilation, dilation, 1),
        dimension_numbers=LAYOUT,
    )
    return y[:, :, :, 0]


def _by_inputs(x: jax.Array, kernel: jax.Array, dilation: int, pad: int) -> jax.Array:
    """The same; in its transpose the outputs are depth and the inputs fill the lanes."""
    extent = dilation * (kernel.shape[0] - 1) + 1
    rows, columns = (side - extent + pad for side in x.shape[1:3])
    y = jax.lax.conv_general_dilated(
        jnp.flip(kernel, (0, 1))[None],
        jnp.flip(x, (1, 2))[..., None],
        (1, 1, 1),
        ((rows, rows), (columns, columns), (0, 0)),
        lhs_dilation=(dilation, dilation, 1),
        dimension_numbers=BY_INPUTS,
    )
    return y[0]
