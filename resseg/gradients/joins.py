"""The join: what shortcut and branch put into the sum of a residual block, forward."""

from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util

CARRIED, COMPUTED = "carried", "computed"  # W_c · x and W_r · h(x; W)
JOINS = "joins"  # collection of a model's variables
MOMENTS = "moments"


class Join:
    """Marks a module that adds what its methods `carried` and `computed` return."""

    def __init_subclass__(cls, **settings: Any):
        super().__init_subclass__(**settings)
        for method in (CARRIED, COMPUTED):
            if not callable(getattr(cls, method, None)):
                raise TypeError(f"{cls.__name__} is a join without `{method}`")


def with_addends(
    function: Callable[..., Any], *args: Any, **kwargs: Any
) -> tuple[Any, dict[str, dict[str, jax.Array]]]:
    """Calls `function`, which applies a model, and notes what every join adds.

    Returns:
        What it returned, and by module path of the join the addends by method name, in
        the order in which the signal meets them. A block without shortcut has no
        `carried`.

    Raises:
        RuntimeError: a join was called that did not add what its `computed` returns.
    """
    addends: dict[str, dict[str, jax.Array]] = {}

    def note(call, positional, keywords, context):
        value = call(*positional, **keywords)
        method, path = context.method_name, "/".join(context.module.path)
        if isinstance(context.module, Join):
            if method in (CARRIED, COMPUTED):
                addends.setdefault(path, {})[method] = value
            if method == "__call__" and COMPUTED not in addends.get(path, {}):
                raise RuntimeError(f"the join at {path} does not call `{COMPUTED}`")
        return value

    with nn.intercept_methods(note):
        result = function(*args, **kwargs)
    return result, addends


class AddendMoments(flax.struct.PyTreeNode):
    """Sizes of what the ways of a block add, and how they lie to each other.

    Attributes:
        array: float32 `[..., 3]`, one array per block; nothing else knows its layout.
    """

    array: jax.Array | np.ndarray

    @property
    def shortcut(self) -> jax.Array | np.ndarray:
        """`[...]`: mean square of the shortcut's addend; 0 where there is none."""
        return self.array[..., 0]

    @property
    def branch(self) -> jax.Array | np.ndarray:
        """`[...]`: mean square of the branch's addend."""
        return self.array[..., 1]

    @property
    def product(self) -> jax.Array | np.ndarray:
        """`[...]`: mean of the product of both."""
        return self.array[..., 2]


def with_moments(
    function: Callable[[], tuple[Any, Mapping[str, Any]]],
) -> tuple[Any, Mapping[str, Any], dict[str, AddendMoments]]:
    """Calls `function`, which applies a model, and measures what every join adds.

    What is measured leaves through a collection, as everything has to that comes out of
    a part which is rematerialised or scanned.

    Args:
        function: returns what it computed and the collections it changed; `JOINS` has
            to be mutable.

    Returns:
        Both, and by module path of the join the `moments` of its addends.

    Raises:
        RuntimeError: a join was called that did not add what its `computed` returns.
    """
    carried: dict[tuple[str, ...], jax.Array] = {}
    measured: set[tuple[str, ...]] = set()

    def note(call, positional, keywords, context):
        value = call(*positional, **keywords)
        module: Any = context.module
        method = context.method_name if isinstance(context.module, Join) else ""
        if method == CARRIED:
            carried[module.path] = value
        if method == COMPUTED:
            addends = {COMPUTED: value}
            if module.path in carried:
                addends[CARRIED] = carried.pop(module.path)
            found = moments(addends).array
            measured.add(module.path)
            module.sow(JOINS, MOMENTS, found, lambda _, last: last, lambda: None)
        if method == "__call__" and module.path not in measured:
            path = "/".join(module.path)
            raise RuntimeError(f"the join at {path} does not call `{COMPUTED}`")
        return value

    with nn.intercept_methods(note):
        result, changed = function()
    kept = {name: tree for name, tree in changed.items() if name != JOINS}
    sown: dict[str, Any] = traverse_util.flatten_dict(changed.get(JOINS, {}), sep="/")
    ending = "/" + MOMENTS
    return (
        result,
        kept,
        {name.removesuffix(ending): AddendMoments(each) for name, each in sown.items()},
    )


def moments(addends: dict[str, jax.Array]) -> AddendMoments:
    """Of the addends of one block, as `with_addends` notes them."""
    branch = addends[COMPUTED].astype(jnp.float32)
    if CARRIED not in addends:
        zero = jnp.zeros(())
        return AddendMoments(jnp.stack([zero, jnp.mean(branch * branch), zero]))
    carried = addends[CARRIED].astype(jnp.float32)
    squares = jnp.mean(carried * carried), jnp.mean(branch * branch)
    return AddendMoments(jnp.stack([*squares, jnp.mean(carried * branch)]))
