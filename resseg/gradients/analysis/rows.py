"""Several cotangents sent back at once, as rows: compared, and told apart by length.

The backward pass is linear, so any number of cotangents can go through it together, at
the price of one forward pass: `jax.vmap` over what is sent back, along the axis `ROWS`.
Rules on the cotangent may then speak of all rows at once. Here they compare each row
with the last one, and move what comes back over a branch one row up, so that row k ends
with the part of the gradient whose ways lead through exactly k branches.
"""

import functools
from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from resseg.gradients.fork import Fork, fork_name
from resseg.gradients.names import SHORTCUT

ROWS = "rows"


class Comparison(NamedTuple):
    """How a row compares with the last row g; of zeros, the sink that receives it.

    Attributes:
        norm: of the row.
        projection: on g, <row, g> / |g|^2. Those of parts of g add up to 1.
    """

    norm: jax.Array
    projection: jax.Array


Sinks = Mapping[str, Comparison]


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def lengthen(x: jax.Array, longest: int) -> jax.Array:
    """Returns `x`; in the backward pass each row becomes the one of the next length.

    Rows: lengths 0 … `longest`, then all longer ones together, then the whole gradient,
    which stays: `longest + 3` in all.
    """
    return x


def _lengthen_forward(x, longest):
    return x, None


def _lengthen_backward(longest, _, g):
    rows = longest + 3
    row = jax.lax.axis_index(ROWS)
    shorter = jax.lax.ppermute(g, ROWS, [(i, (i + 1) % rows) for i in range(rows)])
    moved = jnp.where(row == 0, jnp.zeros_like(g), shorter)
    moved = jnp.where(row == longest + 1, shorter + g, moved)
    return (jnp.where(row == longest + 2, g, moved),)


lengthen.defvjp(_lengthen_forward, _lengthen_backward)


@jax.custom_vjp
def compare(x: jax.Array, sink: Comparison) -> jax.Array:
    """Returns `x`; the gradient with respect to `sink` says how the rows compare."""
    return x


def _compare_forward(x, sink):
    return x, jnp.zeros_like(sink.norm)


def _compare_backward(like, g):
    row, last = jax.lax.axis_index(ROWS), jax.lax.axis_size(ROWS) - 1
    wide = g.astype(like.dtype)
    reference = jax.lax.psum(jnp.where(row == last, wide, jnp.zeros_like(wide)), ROWS)
    # Scaled by the largest entry: squares of what is small would underflow.
    size, unit = _unit(wide)
    reference_size, reference_unit = _unit(reference)
    ratio = size / jnp.where(reference_size > 0, reference_size, 1)
    square = jnp.sum(reference_unit * reference_unit)
    projection = (
        ratio * jnp.sum(unit * reference_unit) / jnp.where(square > 0, square, 1)
    )
    norm = size * jnp.sqrt(jnp.sum(unit * unit))
    return g, Comparison(norm, projection)


def _unit(g: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Largest magnitude, and `g` over it; 0 stays 0, NaN and infinity stay too."""
    size = jnp.max(jnp.abs(g))
    return size, g / jnp.where(size > 0, size, 1)


compare.defvjp(_compare_forward, _compare_backward)


def zero_sinks(names: Collection[str]) -> dict[str, Comparison]:
    """One sink per fork."""
    return {name: Comparison(jnp.zeros(()), jnp.zeros(())) for name in names}


def with_rows(
    function: Callable[..., Any],
    sinks: Sinks,
    counted: Collection[str],
    longest: int,
    *args: Any,
    **kwargs: Any,
) -> Any:
    """Calls `function`, which applies a model, prepared for a backward pass in rows.

    Args:
        sinks: by fork name; the signal passes `compare` in front of those forks.
        counted: names of the forks that count in the length of a path; behind them all
            but the shortcut, so branch and gate, passes `lengthen`.
        longest: length up to which paths are told apart, where any are counted.

    Returns:
        What it returned; the value is that of `function`, bit for bit.
    """

    def prepare(call, positional, keywords, context):
        fork = context.module
        if not isinstance(fork, Fork) or context.method_name != "__call__":
            return call(*positional, **keywords)
        name, (x, *rest) = fork_name(fork.path), positional
        if name in sinks:
            x = compare(x, sinks[name])
        copies = call(x, *rest, **keywords)
        if name not in counted:
            return copies
        return tuple(
            copy if path == SHORTCUT else lengthen(copy, longest)
            for copy, path in zip(copies, fork.paths, strict=True)
        )

    with nn.intercept_methods(prepare):
        return function(*args, **kwargs)


def pulled_back(
    loss: Callable[[Any], jax.Array], sinks: Any, longest: int
) -> tuple[jax.Array, Any]:
    """Value, and the gradient of `loss(sinks)` by length of path.

    Args:
        loss: a scalar; what it calls went through `with_rows` with the same `longest`.
        sinks: or any other tree to differentiate with respect to.

    Returns:
        Value, and a tree like `sinks` whose leaves have the rows of `lengthen` in
        front. All the gradient starts at length 0.
    """
    value, pull = jax.vjp(loss, sinks)
    starts = jnp.zeros(longest + 3, value.dtype).at[jnp.array([0, -1])].set(1)
    (rows,) = jax.vmap(pull, axis_name=ROWS)(starts)
    return value, rows
