"""A step that is not finite, and the update that it would make."""

import functools
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

STOP, SKIP, ROLLBACK = "stop", "skip", "rollback"  # `config.train.on_nonfinite`

Tree = TypeVar("Tree")


def only_if_finite(
    loss: jax.Array, grad_norm: jax.Array, update: Callable[[], Tree], kept: Tree
) -> Tree:
    """What `update` returns, or `kept` where loss or gradient is not finite.

    The device decides, and nobody waits for it.
    """
    finite = jnp.isfinite(loss) & jnp.isfinite(grad_norm)
    return jax.lax.platform_dependent(
        cpu=lambda: by_branch(finite, update, kept),
        default=lambda: by_choice(finite, update, kept),
    )


def by_branch(finite: jax.Array, update: Callable[[], Tree], kept: Tree) -> Tree:
    """For CPUs: to choose there is to read and write all weights once more.

    That was 7 % of a step. On a GPU it is the host that reads which branch it is.
    """
    return jax.lax.cond(finite, update, lambda: kept)


def by_choice(finite: jax.Array, update: Callable[[], Tree], kept: Tree) -> Tree:
    """For other devices, which compute the update and choose, array by array."""
    return jax.tree.map(functools.partial(jnp.where, finite), update(), kept)


def harms(log: Mapping[str, Any]) -> bool:
    """Whether the state after a step is not finite where loss and gradient were."""
    return _are_finite(log) and not np.isfinite(sum(log["blocks"]["updates"].values()))


def is_finite(log: Mapping[str, Any]) -> bool:
    """Whether loss, gradient and update of a step were, by its log on the host.

    An update whose sum of squares is not finite counts as none that is.
    """
    return _are_finite(log) and not harms(log)


def _are_finite(log: Mapping[str, Any]) -> bool:
    scalars = log["scalars"]
    return bool(np.isfinite(scalars["loss"]) and np.isfinite(scalars["grad_norm"]))
