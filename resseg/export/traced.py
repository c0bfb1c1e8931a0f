"""Functions as JAX traces them, with what they call in line."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax.core import Tracer
from jax.extend import core

_Closed: Any = core.ClosedJaxpr  # pyright: ignore[reportPrivateImportUsage]
_SMALL = 4096  # elements of a constant that is worth no computation
# A rule takes the inputs of a primitive and its parameters, and returns its result.
Rules = Mapping[str, Callable[..., Any]]
# Primitives that call a function, and the parameter that holds it.
_CALLS = {
    "pjit": "jaxpr",
    "jit": "jaxpr",
    "closed_call": "call_jaxpr",
    "custom_jvp_call": "call_jaxpr",
    "custom_vjp_call": "call_jaxpr",
    "custom_vjp_call_jaxpr": "fun_jaxpr",
}


def called(eqn: Any) -> Any:
    """The function that an equation calls, with its constants; None = it calls none."""
    name = str(eqn.primitive)
    if name not in _CALLS:
        return None
    function = eqn.params[_CALLS[name]]
    return function if hasattr(function, "consts") else _Closed(function, ())


def is_small(eqn: Any, held: int) -> bool:
    """Whether results are no larger than what they are computed from.

    Constants that are larger would lie in a file.

    Args:
        eqn: all of whose inputs are constants.
        held: elements of these.
    """
    shapes = [variable.aval.shape for variable in (*eqn.invars, *eqn.outvars)]
    if not all(isinstance(size, int) for shape in shapes for size in shape):
        return False
    return max(map(math.prod, shapes)) <= max(held, _SMALL)


def rewritten(
    function: Callable[..., Any], rules: Rules, *shapes: Any
) -> Callable[..., tuple[Any, ...]]:
    """The same function of arrays, some of its primitives computed by another rule.

    What follows from its constants alone is a constant.

    Args:
        function: returns a tuple of arrays.
        rules: by the names of primitives.
        shapes: of its arguments.
    """
    traced: Any = jax.make_jaxpr(function)(*shapes)
    return lambda *arrays: tuple(_evaluated(traced, rules, arrays))


def _evaluated(traced: Any, rules: Rules, arrays: Sequence[Any]) -> list[Any]:
    jaxpr, values = traced.jaxpr, dict[Any, Any]()
    values.update(zip(jaxpr.constvars, traced.consts, strict=True))
    values.update(zip(jaxpr.invars, arrays, strict=True))

    def read(variable: Any) -> Any:
        return variable.val if isinstance(variable, core.Literal) else values[variable]

    for eqn in jaxpr.eqns:
        name, given = str(eqn.primitive), [read(each) for each in eqn.invars]
        inner = called(eqn)
        if inner is not None:
            results = _evaluated(inner, rules, given)
        elif _is_known(eqn, given):
            with jax.ensure_compile_time_eval():
                results = bound(eqn, given)
        elif name in rules:
            results = [rules[name](*given, **eqn.params)]
        else:
            results = bound(eqn, given)
        values.update(zip(eqn.outvars, results, strict=True))
    return [read(variable) for variable in jaxpr.outvars]


def bound(eqn: Any, given: Sequence[Any]) -> list[Any]:
    """The results of an equation that calls no function."""
    found = eqn.primitive.bind(*given, **eqn.params)
    return list(found) if eqn.primitive.multiple_results else [found]


def _is_known(eqn: Any, given: Sequence[Any]) -> bool:
    if not given or any(isinstance(each, Tracer) for each in given):
        return False
    return is_small(eqn, sum(np.size(each) for each in given))
