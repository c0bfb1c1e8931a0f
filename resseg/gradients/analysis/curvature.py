"""Second derivatives, and why a gradient-scaled network has none."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
from flax import traverse_util

from resseg.errors import UserError
from resseg.gradients.names import BYPASS, DETACH_RATE, FACTOR, RATE

# Leaves of the `paths` collection that act forward; every other one acts backward, and
# does nothing at 1, or, where it says how much is left out, at 0.
FORWARD = (FACTOR, RATE)
OFF_AT_ZERO = (BYPASS, DETACH_RATE)


def require_true_gradient(paths: Mapping) -> None:
    """Refuses backward factors that change the gradient.

    With them the field that training follows is the gradient of no function: automatic
    second derivatives come out symmetric and plausible, and are wrong.

    Raises:
        UserError: the first such factor, by its path.
    """
    flat: dict[tuple[str, ...], Any] = traverse_util.flatten_dict(paths)
    for path, value in flat.items():
        neutral = float(path[-1] not in OFF_AT_ZERO)
        if path[-1] not in FORWARD and float(value) != neutral:
            raise UserError(
                f"paths/{'/'.join(path)}={float(value):g}: a backward factor other "
                f"than {neutral:g} has no Hessian; set config.model.gradient.* to what "
                "it is by default"
            )


def hessian_vector_product(
    loss: Callable[[Any, Mapping], jax.Array],
    params: Any,
    paths: Mapping,
    vector: Any,
) -> Any:
    """H v for the Hessian of `params -> loss(params, paths)`, a tree like `params`.

    Forward over reverse (Pearlmutter 1994): two gradients' worth of time.

    Raises:
        UserError: `paths` scales a gradient.
    """
    require_true_gradient(paths)
    gradient = jax.grad(lambda p: loss(p, paths))
    return jax.jvp(gradient, (params,), (vector,))[1]
