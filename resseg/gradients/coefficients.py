"""Coefficients that move while training: learned ones, and those with a schedule."""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util

from resseg.gradients.mixing import doubly_stochastic, kept
from resseg.gradients.names import (
    BIAS,
    BRANCH_FACTOR,
    DELTA,
    FACTOR,
    FORK,
    GATE,
    LOGITS,
    MIXING,
    SHORTCUT_FACTOR,
    SKIP_FACTOR,
)

_MIXINGS = {MIXING: lambda mixing: mixing, MIXING + LOGITS: doubly_stochastic}
_FACTORS = {SHORTCUT_FACTOR: "W_c", BRANCH_FACTOR: "W_r"}


def coefficient_name(path: tuple[str, ...]) -> str:
    """`backbone/stage1/block2 W_c`, `… gradient shortcut`, `… gate bias`, `… rate`,
    `… streams kept`.

    Raises:
        ValueError: a factor of something that has no name here.
    """
    *modules, leaf = path
    *outer, module = modules
    if leaf == FACTOR:
        if module.startswith(SKIP_FACTOR):
            return f"{'/'.join(modules)} kappa"
        if module not in _FACTORS:
            raise ValueError(f"{'/'.join(path)}: a factor of no path that is known")
        return f"{'/'.join(outer)} {_FACTORS[module]}"
    if leaf in _MIXINGS:
        return f"{'/'.join(outer)} streams kept"
    if module == FORK:
        return f"{'/'.join(outer)} gradient {leaf}"
    if module in (GATE, DELTA):
        return f"{'/'.join(outer)} {module} {leaf}"
    return f"{'/'.join(modules)} {leaf}"


def learned_means(params: Mapping[str, Any]) -> dict[str, jax.Array]:
    """Name -> mean over its channels of each learned factor, bias of a gate or delta.

    And of what mixes streams, the share of itself that each keeps.
    """
    flat: dict[tuple[str, ...], Any] = traverse_util.flatten_dict(params)
    means = {
        coefficient_name(path): jnp.mean(leaf)
        for path, leaf in flat.items()
        if path[-1] == FACTOR or path[-2:] in ((GATE, BIAS), (DELTA, BIAS))
    }
    mixed = {
        coefficient_name(path): kept(_MIXINGS[path[-1]](leaf))
        for path, leaf in flat.items()
        if path[-1] in _MIXINGS
    }
    return means | mixed


def scheduled(lines: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Name -> line `[4]`, of those coefficients that a schedule moves."""
    flat: dict[tuple[str, ...], Any] = traverse_util.flatten_dict(lines)
    return {
        coefficient_name(path): line
        for path, line in flat.items()
        if line[0] != line[1]
    }


def on_line(line: Sequence[Any] | np.ndarray | jax.Array, step: Any) -> Any:
    """The value of a coefficient that moves in a straight line between two steps.

    Args:
        line: start, end, first step, last step: start until the first step, end from
            the last on.
        step: optimizer steps made; an array of JAX where the train step computes the
            value, a number where the host does.
    """
    if isinstance(step, jax.Array):
        return _on_line_of_device(line, step)
    return _between(line, step, min, max)


@functools.partial(jax.jit, inline=True)  # traced once for all coefficients
def _on_line_of_device(line: jax.Array, step: jax.Array) -> jax.Array:
    return _between(line, step, jnp.minimum, jnp.maximum)


def _between(line: Any, step: Any, minimum: Callable, maximum: Callable) -> Any:
    start, end, first, last = line
    way = (step - first) / maximum(last - first, 1.0)
    return start + (end - start) * minimum(maximum(way, 0.0), 1.0)
