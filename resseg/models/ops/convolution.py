"""Convolutions `[batch, h, w, in] x [kernel, kernel, in / groups, out]`, no bias.

Padding is symmetric and explicit, dilation * (kernel - 1) / 2 on each side.
"""

import functools
import math

import jax
import jax.numpy as jnp

from resseg.models.ops import depthwise, taps, weight_gradient
from resseg.models.ops.choice import Formulation, current, for_cpu, for_gpu

LAYOUT = ("NHWC", "HWIO", "NHWC")
# Below this share of products inside the image, one product per tap is faster.
DENSE = 0.65
# So it is with many channels on few pixels, and with very many on any number.
WIDE, VERY_WIDE, FEW_PIXELS = 256, 512, {"xla": 1024, "onednn": 256}


def convolve(
    x: jax.Array, kernel: jax.Array, strides: int, dilation: int, groups: int
) -> jax.Array:
    """The convolution, as `choice` has it.

    On a CPU what goes in, what comes out and their cotangents are computed once: XLA
    would compute the chains that they come from, mostly of a batch norm, again in both
    gradients, and in the order in which a product wants its operand.
    """
    if not for_cpu():
        return _convolve(x, kernel, strides, dilation, groups)
    once = jax.lax.optimization_barrier
    return once(_convolve(once(x), kernel, strides, dilation, groups))


def _convolve(x, kernel, strides, dilation, groups):
    size = kernel.shape[0]
    if size == 1 and groups == 1:
        # A matrix product, which XLA runs on a CPU three times as fast.
        x = every(x, strides)
        return jnp.einsum("bhwi,io->bhwo", x, kernel[0, 0])
    # On a CPU half precision is as XLA has it, which sums in single.
    special = for_cpu() and x.dtype.itemsize >= 4
    if groups == x.shape[-1] and (special or for_gpu()):
        return depthwise.convolve(x, kernel, strides, dilation)
    if not special:
        return plain(x, kernel, strides, dilation, groups)
    if groups == 1 and taps.share(x.shape[1:3], size, strides, dilation) < DENSE:
        return taps.convolve(x, kernel, strides, dilation)
    if groups == strides == 1 and (
        _by_taps(x, kernel) or weight_gradient.special(x, kernel)
    ):
        return _dense(x, kernel, dilation)
    return plain(x, kernel, strides, dilation, groups)


def every(x: jax.Array, strides: int) -> jax.Array:
    """Every `strides`-th row and column. Where sizes are symbols, indexing gathers."""
    if strides == 1:
        return x
    return jax.lax.slice(x, (0,) * 4, x.shape, (1, strides, strides, 1))


def _by_taps(x, kernel):
    pixels, width = math.prod(x.shape[:3]), min(kernel.shape[2:])
    if current() is Formulation.ONEDNN:
        return width >= WIDE and pixels <= FEW_PIXELS["onednn"]
    return width >= VERY_WIDE or (width >= WIDE and pixels <= FEW_PIXELS["xla"])


def plain(
    x: jax.Array, kernel: jax.Array, strides: int, dilation: int, groups: int = 1
) -> jax.Array:
    """As XLA has it."""
    pad = dilation * (kernel.shape[0] - 1) // 2
    return jax.lax.conv_general_dilated(
        x,
        kernel,
        window_strides=(strides, strides),
        padding=((pad, pad), (pad, pad)),
        rhs_dilation=(dilation, dilation),
        dimension_numbers=LAYOUT,
        feature_group_count=groups,
    )


def convolve_seen(x: jax.Array, kernel: jax.Array, dilation: int) -> jax.Array:
    """Stride 1, with outputs for those rows alone whose whole kernel meets rows of x:
    columns are padded, rows are not."""
    pad = dilation * (kernel.shape[0] - 1) // 2
    return jax.lax.conv_general_dilated(
        x,
        kernel,
        window_strides=(1, 1),
        padding=((0, 0), (pad, pad)),
        rhs_dilation=(dilation, dilation),
        dimension_numbers=LAYOUT,
    )


@functools.partial(jax.custom_jvp, nondiff_argnums=(2,))
def _dense(x: jax.Array, kernel: jax.Array, dilation: int) -> jax.Array:
    if _by_taps(x, kernel):
        return taps.convolve(x, kernel, 1, dilation)
    return plain(x, kernel, 1, dilation)


def _dense_tangent(dilation, primals, tangents):
    x, kernel = primals
    of_x, of_kernel = tangents
    of_products = taps.convolve if _by_taps(x, kernel) else plain
    parts = []
    # An image has no tangent, and a convolution of zeros is a convolution.
    if not _is_zero(of_x):
        parts.append(of_products(of_x, kernel, 1, dilation))
    if not _is_zero(of_kernel) and weight_gradient.special(x, kernel):
        parts.append(weight_gradient.tangent(x, of_kernel, dilation))
    elif not _is_zero(of_kernel):
        parts.append(of_products(x, of_kernel, 1, dilation))
    y = _dense(x, kernel, dilation)
    return y, functools.reduce(jnp.add, parts) if parts else jnp.zeros_like(y)


def _is_zero(tangent):
    return isinstance(tangent, jax.custom_derivatives.SymbolicZero)


_dense.defjvp(_dense_tangent, symbolic_zeros=True)
