"""Singular values of a Jacobian that is never formed: by jvp and vjp alone (M12)."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

Function = Callable[[jax.Array], jax.Array]


def normal_product(function: Function, x: jax.Array, v: jax.Array) -> jax.Array:
    """J^T J v for the Jacobian J of `function` at `x`; of the shape of `x`."""
    _, pushed = jax.jvp(function, (x,), (v,))
    return jax.vjp(function, x)[1](pushed)[0]


def largest_singular_value(
    product: Function, start: jax.Array, iterations: int
) -> tuple[float, float]:
    """Power iteration on J^T J.

    Args:
        product: v -> J^T J v.
        start: random, not zero.

    Returns:
        sigma, from the last Rayleigh quotient: a lower bound of the largest singular
        value; and |J^T J v - sigma^2 v| / sigma^2, within which of sigma^2, relatively,
        there is the square of some singular value.
    """
    v = start / jnp.linalg.norm(start)
    square, residual = 0.0, 0.0
    for _ in range(iterations):
        w = product(v)
        square = float(jnp.vdot(v, w))
        if square <= 0:
            return 0.0, 0.0
        residual = float(jnp.linalg.norm(w - square * v)) / square
        v = w / jnp.linalg.norm(w)
    return square**0.5, residual


def random_pull(function: Function, x: jax.Array, key: jax.Array) -> jax.Array:
    """|J^T v|^2 for a random sign per output: its expectation is |J|_F^2.

    Hutchinson's estimator (1990) of the trace of J J^T.
    """
    y, pull = jax.vjp(function, x)
    signs = jax.random.rademacher(key, y.shape, y.dtype)
    return jnp.sum(jnp.square(pull(signs)[0]))


def recorded_parts(
    function: Callable[..., Any], kinds: tuple[type[nn.Module], ...], *args: Any
) -> tuple[dict[str, nn.Module], dict[str, jax.Array]]:
    """Calls `function`, which applies a model, and takes out modules of some kinds.

    Returns:
        By module path, in the order of the signal: the module on its own, which
        `apply` takes with the variables below that path, and its first argument. Both
        modules and arrays are noted while tracing, so it may run inside of `jax.jit` if
        only the arrays are returned from there.
    """
    modules: dict[str, nn.Module] = {}
    inputs: dict[str, jax.Array] = {}

    def note(call, positional, keywords, context):
        module = context.module
        if isinstance(module, kinds) and context.method_name == "__call__":
            path = "/".join(module.path)
            # Without a name equal blocks are equal, and compile once.
            modules[path] = module.clone(parent=None, name=None)
            inputs[path] = positional[0]
        return call(*positional, **keywords)

    with nn.intercept_methods(note):
        function(*args)
    return modules, inputs
