"""What every fork measures, in the backward pass that training runs anyway.

Two back ends, equal to the last bit:

- taps, for every JAX: each fork has zeros among the arguments, and the gradient with
  respect to them, which its own rule makes up, is what it measured.
- logs, for JAX newer than 0.11.0: the rule of each fork logs what it measured out of
  the backward pass (`jax.custom_vjp.defvjp_with_logs`), and nothing is differentiated
  but what training differentiates.

They differ where a fork is met otherwise than once: called twice, or with its module's
trace shared (`nn.jit`), taps add up and logs are refused; where its input depends on
nothing that is differentiated only the tap measures. So taps are the default.

What is trained is the same to the last bit whether it is measured or not, on CPUs and
from JAX 0.12 on. With JAX 0.10 that is sure only before XLA optimises: on one machine
measuring moved 2 of the 65 arrays of 6 steps of `quickstart` by up to 2e-7, on another
none. On other devices nobody has looked.
"""

from collections.abc import Callable, Mapping
from typing import Any, cast

import jax
import jax.numpy as jnp

from resseg.gradients.fork import HAS_LOGS, LOGS, TAPS, statistics_by_fork
from resseg.gradients.statistics import TapStatistics

# Called with parameters and collections for the model to be applied with besides its
# own; returns a scalar and what else is wanted.
CollectionsLoss = Callable[[Any, Mapping[str, Any]], tuple[jax.Array, Any]]
# (value, aside), gradients, and by fork what was measured.
Measured = tuple[tuple[jax.Array, Any], Any, dict[str, TapStatistics]]


def changes_no_bit(platform: str) -> bool:
    """Whether what is trained on such devices is the same bits, measured or not."""
    return platform == "cpu" and jax.__version_info__ >= (0, 12)


def by_taps(loss: CollectionsLoss, params: Any, taps: Any) -> Measured:
    """Value and gradient of `loss`, and what every fork measured on the way.

    Args:
        loss: `loss(params, collections) -> (value, aside)`.
        taps: the model's `taps` collection of zeros, or {} to measure nothing.
    """

    def with_taps(params, taps):
        return loss(params, {TAPS: taps} if taps else {})

    backward = jax.value_and_grad(with_taps, argnums=(0, 1), has_aux=True)
    result, (gradients, measured) = backward(params, taps)
    return result, gradients, statistics_by_fork(measured)


def by_logs(loss: CollectionsLoss, params: Any, taps: Any) -> Measured:
    """As `by_taps`, by what the backward pass logs.

    Raises:
        NotImplementedError: this JAX has no such logs.
        ValueError: a fork logged nothing; or, by JAX, one twice.
    """
    if not HAS_LOGS:
        raise NotImplementedError(
            f"JAX {jax.__version__} logs nothing out of a backward pass, expected one "
            "newer than 0.11.0"
        )
    # An empty array in the place of each tap: what a trace depends on is an argument.
    marks = jax.tree.map(lambda tap: jnp.zeros((*tap.shape[:-1], 0)), taps)
    value, pull, aside = jax.vjp(
        lambda params: loss(params, {LOGS: marks} if taps else {}),
        params,
        has_aux=True,
    )
    # JAX gives `pull` the type of a plain function.
    (gradients,), logs = cast(Any, pull).with_logs(jnp.ones_like(value))
    names = statistics_by_fork(taps)
    silent = sorted(names.keys() - logs.keys())
    if silent:
        raise ValueError(f"no log of the fork {silent[0]} in the backward pass")
    return (value, aside), gradients, {name: logs[name] for name in names}
