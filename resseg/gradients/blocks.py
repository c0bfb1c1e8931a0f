"""Sums of squares over the parameters of each block, as norms are made of."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import traverse_util

from resseg.gradients.names import STAGE


def block_of(path: tuple[str, ...]) -> str:
    """The block a parameter belongs to: `backbone/stage1/block2`, `head/decoder1`, …"""
    depth = 3 if path[1].startswith(STAGE) else 2
    return "/".join(path[: min(depth, len(path) - 1)])


def sum_squares_by_block(parameters: Any) -> dict[str, jax.Array]:
    """Block name -> float32 sum of squares over every leaf of the block."""
    sums: dict[str, jax.Array] = {}
    flat: dict[tuple[str, ...], Any] = traverse_util.flatten_dict(parameters)
    for path, leaf in flat.items():
        # `jnp.sum` and `+` would trace a function of their own for each leaf.
        wide = jax.lax.convert_element_type(leaf, jnp.float32)
        value = jax.lax.reduce_sum(jax.lax.square(wide), range(leaf.ndim))
        block = block_of(path)
        sums[block] = jax.lax.add(sums[block], value) if block in sums else value
    return sums
