"""Sharpness-aware minimisation: the gradient of the worst weights nearby."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from resseg.gradients.measure import Measured

GradientOf = Callable[[Any, Any, jax.Array], Measured]


def aware(first: GradientOf, second: GradientOf) -> GradientOf:
    """Takes the gradient at w + ρ g / ‖g‖, g that at w (Foret 2021, eq. 2 and 3).

    Both passes see the whole batch and draw the same numbers. Loss, its terms, the
    confusion matrix and the statistics of norms are those of the first, which is of the
    weights that are kept; gradients and what forks and joins measure are of the second,
    which is what the optimizer sees.

    Args:
        first: gradient that says where to look.
        second: gradient that is returned. ρ is the number `sam_rho` of the state.
    """

    def gradient_of(state: Any, batch: Any, key: jax.Array) -> Measured:
        (value, aside), gradients, _ = first(state, batch, key)
        terms, batch_stats, confusion, _ = aside
        # The loss may be scaled, which the quotient is not.
        norm = jnp.maximum(optax.tree.norm(gradients), jnp.finfo(jnp.float32).tiny)
        rho = state.numbers["sam_rho"]
        there = jax.tree.map(lambda w, g: w + rho * (g / norm), state.params, gradients)
        (_, aside), gradients, forks = second(state.replace(params=there), batch, key)
        joins = aside[-1]
        return (value, (terms, batch_stats, confusion, joins)), gradients, forks

    return gradient_of
