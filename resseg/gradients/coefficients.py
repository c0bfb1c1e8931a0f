"""Coefficients that move while training: learned ones, and those with a schedule."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util

_FACTORS = {"shortcut_factor": "W_c", "branch_factor": "W_r"}


def coefficient_name(path: tuple[str, ...]) -> str:
    """`backbone/stage1/block2 W_c`, `… gradient shortcut`, `… gate bias`, `… rate`."""
    *block, leaf = path
    if leaf == "factor":
        return f"{'/'.join(block[:-1])} {_FACTORS[block[-1]]}"
    if block[-1] == "fork":
        return f"{'/'.join(block[:-1])} gradient {leaf}"
    if block[-1] == "gate":
        return f"{'/'.join(block[:-1])} gate {leaf}"
    return f"{'/'.join(block)} {leaf}"


def learned_means(params: Mapping[str, Any]) -> dict[str, jax.Array]:
    """Name -> mean over its channels of each learned factor and bias of a gate."""
    flat: dict[tuple[str, ...], Any] = traverse_util.flatten_dict(params)
    return {
        coefficient_name(path): jnp.mean(leaf)
        for path, leaf in flat.items()
        if (path[-2] in _FACTORS and path[-1] == "factor")
        or path[-2:] == ("gate", "bias")
    }


def scheduled(lines: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Name -> line `[4]`, of those coefficients that a schedule moves."""
    flat: dict[tuple[str, ...], Any] = traverse_util.flatten_dict(lines)
    return {
        coefficient_name(path): line
        for path, line in flat.items()
        if line[0] != line[1]
    }
