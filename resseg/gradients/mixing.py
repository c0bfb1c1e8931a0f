"""What a stage of several streams learns to mix them by: hyper-connections."""

import jax
import jax.numpy as jnp

ROUNDS = 20  # of normalising rows and columns (Xie 2025, section 4.2)


def doubly_stochastic(logits: jax.Array) -> jax.Array:
    """`[n, n]` above 0 whose rows and columns add up to 1, by Sinkhorn and Knopp.

    The mean of what it mixes stays, forward and backward, and no norm grows.
    """

    def normalise(_, mixing):
        mixing = mixing / mixing.sum(1, keepdims=True)
        return mixing / mixing.sum(0, keepdims=True)

    start = jnp.exp(logits - logits.max())
    return jax.lax.fori_loop(0, ROUNDS, normalise, start)


def kept(mixing: jax.Array) -> jax.Array:
    """Mean share of itself that a stream keeps: the diagonal's."""
    return jnp.trace(mixing) / mixing.shape[0]
