"""Loss scaling: small gradients stay above what float16 takes for zero.

A factor on the loss multiplies every cotangent. The gradients of the weights are
divided by it before anything else sees them (Micikevicius et al. 2018, section 3.2),
what forks measured is where rows are made of it. Halving and doubling change exponents
alone.

The factor is a number of the config, or it is looked for while training: halved where
the gradient overflows, in which case no update is made and the next batch makes it, and
doubled after so many updates without that.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from resseg.config.structure import finds_loss_scale
from resseg.gradients.fork import scale_cotangent

FIXED, GROWTH = "loss_scale", "loss_scale_growth"  # in `TrainState.numbers`
OVERFLOWED = "overflowed"  # in the log of a step
SCALE, OVERFLOWS = "loss_scale", "loss_scale_overflows"  # among its scalars
_LEAST = 1.0  # not what half precision overflows at: the gradient itself is not finite
_LARGEST = 2.0**60  # whose square is still a float32

Scaling = dict[str, Any]


def start(config: Any) -> Scaling:
    """`TrainState.scaling` before the first update; {} where no scale moves.

    The scale, the updates since it last changed, and how many gradients overflowed.
    """
    if not finds_loss_scale(config):
        return {}
    scale = np.float32(config.optim.loss_scale_start)
    return {"scale": scale, "since": np.int32(0), "overflows": np.int32(0)}


def numbers(config: Any) -> dict[str, Any]:
    """What of `TrainState.numbers` is for this; {} where nothing is scaled."""
    if finds_loss_scale(config):
        return {GROWTH: np.int32(config.optim.loss_scale_growth)}
    fixed = config.optim.loss_scale
    return {FIXED: np.float32(fixed)} if fixed else {}


def _scale_of(state: Any) -> jax.Array | None:
    return state.scaling["scale"] if state.scaling else state.numbers.get(FIXED)


def scaled(loss: jax.Array, state: Any) -> jax.Array:
    """The loss itself, whose gradients are multiplied by the scale of a state."""
    scale = _scale_of(state)
    return loss if scale is None else scale_cotangent(loss, scale)


def unscaled(gradients: Any, state: Any) -> Any:
    """The gradients of a loss that was `scaled`, without the scale."""
    scale = _scale_of(state)
    return jax.tree.map(lambda g: g if scale is None else g / scale, gradients)


def noted(before: Any, after: Any, log: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """The state after a step with its scaling, and the log of the step with the scale.

    A loss that is not finite is no matter of its scale, and leaves it; nor is a
    gradient that is not finite at the least scale.

    Args:
        before: the state before the step.
        after: the state after the step; that of `before` where it made no update.
        log: of the step.
    """
    scale = _scale_of(before)
    if scale is None:
        return after, log
    scalars = log["scalars"] | {SCALE: scale}
    if not before.scaling:
        return after, log | {"scalars": scalars}
    is_finite, grad_is_finite = map(
        jnp.isfinite, (scalars["loss"], scalars["grad_norm"])
    )
    overflowed = is_finite & ~grad_is_finite & (scale > _LEAST)
    made = is_finite & grad_is_finite
    since = jnp.where(overflowed, 0, before.scaling["since"] + made)
    grows = since >= before.numbers[GROWTH]
    smaller, larger = jnp.maximum(scale / 2, _LEAST), jnp.minimum(2 * scale, _LARGEST)
    scalars[OVERFLOWS] = before.scaling["overflows"] + overflowed
    scaling = {
        "scale": jnp.where(overflowed, smaller, jnp.where(grows, larger, scale)),
        "since": jnp.where(grows, 0, since),
        "overflows": scalars[OVERFLOWS],
    }
    log = log | {"scalars": scalars, OVERFLOWED: overflowed}
    return after.replace(scaling=scaling), log


def has_overflowed(log: Mapping[str, Any]) -> bool:
    """Whether a step made no update as its gradient overflowed, by its log."""
    return bool(log.get(OVERFLOWED, False))


def overflow_line(step: int, log: Mapping[str, Any]) -> str:
    """That the gradient of a step overflowed, for people."""
    scale, count = (log["scalars"][name] for name in (SCALE, OVERFLOWS))
    return (
        f"step {step}: the gradient overflows at a loss scale of {scale:g} "
        f"({count} so far): no update, {max(scale / 2, _LEAST):g} for the next batch"
    )
