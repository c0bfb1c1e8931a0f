"""Convolutions `[batch, h, w, in] x [kernel, kernel, in / groups, out]`, no bias.

Padding is symmetric and explicit, dilation * (kernel - 1) / 2 on each side.
"""

import functools

import jax
import jax.numpy as jnp

from resseg.models.ops import depthwise, taps, weight_gradient
from resseg.models.ops.choice import for_cpu

LAYOUT = ("NHWC", "HWIO", "NHWC")
# Below this share of products inside the image, one product per tap is faster.
DENSE = 0.65


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
        x = x[:, ::strides, ::strides]
        return jnp.einsum("bhwi,io->bhwo", x, kernel[0, 0])
    if not for_cpu():
        return plain(x, kernel, strides, dilation, groups)
    if groups == x.shape[-1]:
        return depthwise.convolve(x, kernel, strides, dilation)
    if groups == 1 and taps.share(x.shape[1:3], size, strides, dilation) < DENSE:
        return taps.convolve(x, kernel, strides, dilation)
    if groups == strides == 1 and weight_gradient.special(x, kernel):
        return _dense(x, kernel, dilation)
    return plain(x, kernel, strides, dilation, groups)


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


@functools.partial(jax.custom_jvp, nondiff_argnums=(2,))
def _dense(x: jax.Array, kernel: jax.Array, dilation: int) -> jax.Array:
    return plain(x, kernel, 1, dilation)


def _dense_tangent(dilation, primals, tangents):
    x, kernel = primals
    of_x, of_kernel = tangents
    y = _dense(x, kernel, dilation)
    tangent = jnp.zeros_like(y)
    # An image has no tangent, and a convolution of zeros is a convolution.
    if not _is_zero(of_x):
        tangent = plain(of_x, kernel, 1, dilation)
    if not _is_zero(of_kernel):
        added = weight_gradient.tangent(x, of_kernel, dilation)
        tangent = added if _is_zero(of_x) else tangent + added
    return y, tangent


def _is_zero(tangent):
    return isinstance(tangent, jax.custom_derivatives.SymbolicZero)


_dense.defjvp(_dense_tangent, symbolic_zeros=True)
