"""The gradient of a kernel in the form that the CPU backend is good at.

    dw[i, j, c, o] = sum over b, y, x of  image[b, y + i, x + j, c] g[b, y, x, o]

is a convolution that sums over images: they are its channels, `c` its batch. With few
images its inner loop has few turns; with an odd number of outputs `o` the lanes of a
vector stay empty. What stands below are linear maps of the kernel whose transposes are
better: each is the convolution itself.
"""

import jax
import jax.numpy as jnp

from resseg.models.ops.choice import Formulation, current

LANES = 16  # float32 numbers of a vector register (AVX-512)
FEWEST = 8  # images to sum over at a time
WIDE = 256  # channels from which on too few images cost more than cutting them

# The batch is summed over: as channels of three axes of space, the last of them what
# else would be the batch of the convolution, of extent 1 in the other operand.
IMAGE_FIRST = ("CNHWD", "IHWDO", "NHWDC")
KERNEL_FIRST = ("NHWCD", "OHWID", "NCHWD")  # the kernel is the image, the image kernel
FLAT_KERNEL_FIRST = ("HWCN", "OHWI", "CHWN")  # without a third axis


def special(x: jax.Array, kernel: jax.Array) -> bool:
    """Whether `tangent` beats the plain form, for a stride of 1.

    `python -m benchmarks.ops` times both: with oneDNN up to three times as fast at all
    sizes, with XLA's own convolutions twice to four times in these.
    """
    inputs, outputs = kernel.shape[2:]
    few = x.shape[0] < FEWEST and min(inputs, outputs) >= WIDE
    gains = current() is Formulation.ONEDNN or few or _by_inputs(inputs, outputs)
    return x.dtype == jnp.float32 and gains


def tangent(x: jax.Array, kernel: jax.Array, dilation: int) -> jax.Array:
    """The convolution of stride 1, in the form whose transpose in `kernel` is fast.

    Args:
        x: `[batch, h, w, in]`.
        kernel: `[k, k, in, out]`.
    """
    pad = dilation * (kernel.shape[0] - 1) // 2
    if _by_inputs(*kernel.shape[2:]):
        return _kernel_first(x, kernel, dilation, pad)
    count = strips(x.shape[0], x.shape[1])
    tall = x.shape[1] // count
    if count > 1:
        padded = jnp.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
        parts = [padded[:, i * tall : (i + 1) * tall + 2 * pad] for i in range(count)]
        x, pad = jnp.concatenate(parts), 0
    y = jax.lax.conv_general_dilated(
        x[None],
        kernel[None],
        (1, 1, 1),
        ((pad, pad), (pad, pad), (0, 0)),
        rhs_dilation=(dilation, dilation, 1),
        dimension_numbers=IMAGE_FIRST,
    )
    return jnp.concatenate(jnp.split(y[:, :, :, 0], count), axis=1)


def strips(batch: int, height: int) -> int:
    """Into how many strips of rows each image is cut, all of them as one batch."""
    count = 1
    while batch * count < FEWEST and height % (2 * count) == 0 and height > 2 * count:
        count *= 2
    return count


def _by_inputs(inputs, outputs):
    return outputs % LANES > 0 and inputs % LANES == 0


def _kernel_first(x, kernel, dilation, pad):
    """In its transpose the inputs are what fills the lanes."""
    extent = dilation * (kernel.shape[0] - 1) + 1
    rows, columns = (side - extent + pad for side in x.shape[1:3])
    turned, image = jnp.flip(kernel, (0, 1)), jnp.flip(x, (1, 2))
    padding, apart = ((rows, rows), (columns, columns)), (dilation, dilation)
    if current() is not Formulation.ONEDNN:
        return jax.lax.conv_general_dilated(
            turned,
            image,
            (1, 1),
            padding,
            lhs_dilation=apart,
            dimension_numbers=FLAT_KERNEL_FIRST,
        )
    return jax.lax.conv_general_dilated(
        turned[None],
        image[..., None],
        (1, 1, 1),
        (*padding, (0, 0)),
        lhs_dilation=(*apart, 1),
        dimension_numbers=KERNEL_FIRST,
    )[0]
