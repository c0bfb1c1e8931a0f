"""Planes through the space of weights in which losses of networks can be compared.

Filter normalisation (Li 2018, section 4): a random direction whose every filter has the
norm of the filter of the weights it belongs to. Without it a network whose weights are
scaled up, with norms behind them, looks flat for no reason.
"""

from typing import Any

import jax
import jax.numpy as jnp


def filter_normalized(key: jax.Array, params: Any) -> Any:
    """A random direction, a tree like `params`.

    A filter is what makes one output channel: the last axis of a kernel. Leaves with
    one axis or none (biases, norms, learned factors) have no filters and stay where
    they are, as in the paper's experiments; a filter of zeros gets no direction.
    """
    leaves, tree = jax.tree.flatten(params)
    keys = jax.random.split(key, len(leaves))
    return jax.tree.unflatten(tree, map(_direction, keys, leaves))


def _direction(key: jax.Array, leaf: jax.Array) -> jax.Array:
    if leaf.ndim < 2:
        return jnp.zeros_like(leaf)
    normal = jax.random.normal(key, leaf.shape, leaf.dtype)
    return normal * (filter_norms(leaf) / filter_norms(normal))


def filter_norms(leaf: jax.Array) -> jax.Array:
    """`[1, …, 1, filters]`: norm of every filter of a kernel."""
    axes = tuple(range(leaf.ndim - 1))
    return jnp.sqrt(jnp.sum(jnp.square(leaf), axes, keepdims=True))


def moved(params: Any, directions: tuple[Any, Any], a: jax.Array, b: jax.Array) -> Any:
    """`params + a * directions[0] + b * directions[1]`, leaf by leaf."""
    return jax.tree.map(lambda p, d, e: p + a * d + b * e, params, *directions)
