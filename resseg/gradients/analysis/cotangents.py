"""The cotangents that the paths of a fork send back, themselves and by exponent.

The taps of a fork keep three numbers per path. Here every entry is wanted, at the price
of the memory: zeros are added to what leaves the fork on each path, and the gradient
with respect to them is the path's cotangent, after its backward factor.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from resseg.gradients.fork import (
    PATHS,
    Fork,
    ForkInfo,
    fork_name,
    scale_cotangent,
)

# Cells of `exponent_counts`: biased exponents 0 … 255 of float32, then exact zeros.
CELLS = 257
SUBNORMAL, NONFINITE, ZERO = 0, 255, 256
BIAS = 127

Offsets = Mapping[str, Sequence[jax.Array]]


def zero_offsets(forks: Sequence[ForkInfo]) -> dict[str, tuple[jax.Array, ...]]:
    """One float32 array of zeros per fork and path, of the fork's shape."""
    return {
        fork.name: tuple(jnp.zeros(fork.shape) for _ in fork.paths) for fork in forks
    }


def with_offsets(
    function: Callable[..., Any], offsets: Offsets, *args: Any, **kwargs: Any
) -> Any:
    """Calls `function`, which applies a model, with `offsets` added behind its forks.

    Args:
        offsets: fork name -> one array per path, in the order of the fork's paths.

    Returns:
        What it returned. At offsets of zero the value is that without them, and the
        gradient with respect to an offset is what the taps call the path's cotangent.
    """

    def add(call, positional, keywords, context):
        copies = call(*positional, **keywords)
        fork = context.module
        if not isinstance(fork, Fork) or context.method_name != "__call__":
            return copies
        return tuple(
            copy + scale_cotangent(offset.astype(copy.dtype), _factor(fork, path))
            for copy, offset, path in zip(
                copies, offsets[fork_name(fork.path)], fork.paths, strict=True
            )
        )

    with nn.intercept_methods(add):
        return function(*args, **kwargs)


def _factor(fork: Fork, path: str) -> jax.Array:
    without = jnp.float32(fork.initial_factors()[path])
    return fork.get_variable(PATHS, path, without)


def exponent_counts(x: jax.Array) -> jax.Array:
    """Int32 `[CELLS]`: entries of `x`, as float32, by their exponent.

    Cell e in 1 … 254 counts 2^(e - 127) <= |x| < 2^(e - 126); the others are named
    above. Reads the bits: a device that flushes subnormal numbers in arithmetic
    cannot hide them.
    """
    bits = jax.lax.bitcast_convert_type(x.astype(jnp.float32), jnp.int32)
    magnitude = (bits & 0x7FFFFFFF).ravel()
    cell = jnp.where(magnitude == 0, ZERO, magnitude >> 23)
    return jnp.bincount(cell, length=CELLS).astype(jnp.int32)
