"""From a traced function to the nodes that compute it."""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax.extend import core

from resseg.export.onnx_graph import elementwise, shaping, windows
from resseg.export.onnx_graph.graph import Graph, Value
from resseg.export.traced import bound, called, is_small

_OPERATIONS: dict[str, Any] = {
    **elementwise.OPERATIONS,
    **shaping.OPERATIONS,
    **windows.OPERATIONS,
}


def emit(graph: Graph, traced: Any, inputs: Sequence[Value]) -> list[Value]:
    """Adds the nodes of a traced function; the values of its results.

    Args:
        graph: that they are added to.
        traced: what `jax.make_jaxpr` returned.
        inputs: of the function.

    Raises:
        NotImplementedError: a primitive, or a use of it, has no operator here.
    """
    results = zip(_emit(graph, traced, inputs), traced.out_avals, strict=True)
    return [graph.spread(value, aval.shape) for value, aval in results]


def _emit(graph: Graph, traced: Any, inputs: Sequence[Value]) -> list[Value]:
    jaxpr, values = traced.jaxpr, dict[Any, Value]()
    values.update(zip(jaxpr.invars, inputs, strict=True))
    arrays = dict(zip(jaxpr.constvars, traced.consts, strict=True))

    def read(variable: Any) -> Value:
        if isinstance(variable, core.Literal):
            known: Any = variable.aval
            return graph.of_constant(np.asarray(variable.val, known.dtype))
        if variable not in values:
            values[variable] = graph.of_constant(arrays[variable])
        return values[variable]

    for eqn in jaxpr.eqns:
        name = str(eqn.primitive)
        given = [read(variable) for variable in eqn.invars]
        inner = called(eqn)
        if inner is not None:
            results = _emit(graph, inner, given)
        elif known := _computed(graph, eqn, given):
            results = known
        elif name in _OPERATIONS:
            results = _OPERATIONS[name](graph, eqn, given)
        else:
            raise NotImplementedError(f"primitive {name}")
        results = [results] if isinstance(results, Value) else results
        values.update(zip(eqn.outvars, results, strict=True))
    return [read(variable) for variable in jaxpr.outvars]


def _computed(graph: Graph, eqn: Any, given: Sequence[Value]) -> list[Value]:
    """The results as constants, where weights alone decide them; else none."""
    if not given or not all(value.name in graph.arrays for value in given):
        return []
    if not is_small(eqn, sum(graph.arrays[value.name].size for value in given)):
        return []
    shapes = [variable.aval.shape for variable in eqn.invars]
    arrays = [
        jnp.asarray(np.broadcast_to(graph.arrays[value.name], shape))
        for value, shape in zip(given, shapes, strict=True)
    ]
    return [graph.of_constant(result) for result in bound(eqn, arrays)]
