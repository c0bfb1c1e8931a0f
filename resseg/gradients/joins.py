"""The join: what shortcut and branch put into the sum of a residual block, forward."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

METHODS = ("carried", "computed")  # W_c · x and W_r · h(x; W)


class Join:
    """Marks a module that adds what its methods `carried` and `computed` return."""


def with_addends(
    function: Callable[..., Any], *args: Any, **kwargs: Any
) -> tuple[Any, dict[str, dict[str, jax.Array]]]:
    """Calls `function`, which applies a model, and notes what every join adds.

    Returns:
        What it returned, and by module path of the join the addends by method name, in
        the order in which the signal meets them. A block without shortcut has no
        `carried`.
    """
    addends: dict[str, dict[str, jax.Array]] = {}

    def note(call, positional, keywords, context):
        value = call(*positional, **keywords)
        method = context.method_name
        joins = isinstance(context.module, Join)
        if joins and method in METHODS:
            path = "/".join(context.module.path)
            addends.setdefault(path, {})[method] = value
        return value

    with nn.intercept_methods(note):
        result = function(*args, **kwargs)
    return result, addends


def moments(addends: dict[str, jax.Array]) -> jax.Array:
    """Float32 `[3]`: mean square of the shortcut's addend and of the branch's, and the
    mean of their product. An absent shortcut counts as zero.
    """
    branch = addends["computed"].astype(jnp.float32)
    if "carried" not in addends:
        zero = jnp.zeros(())
        return jnp.stack([zero, jnp.mean(branch * branch), zero])
    carried = addends["carried"].astype(jnp.float32)
    return jnp.stack(
        [
            jnp.mean(carried * carried),
            jnp.mean(branch * branch),
            jnp.mean(carried * branch),
        ]
    )
