"""Primitives that move, cut, repeat, sum and count elements."""

from typing import Any

import numpy as np

from resseg.export.onnx_graph.graph import Graph, Operation, Value


def of(eqn: Any, place: int) -> tuple[Any, ...]:
    """The shape that JAX knows of an input."""
    return eqn.invars[place].aval.shape


def _broadcast_in_dim(graph: Graph, eqn: Any, values: list[Value]) -> Value:
    value, places = values[0], eqn.params["broadcast_dimensions"]
    shape: list[Any] = [1] * len(eqn.params["shape"])
    # A scalar that was spread before has no axes in the graph.
    for place, size in zip(places[len(places) - len(value.shape) :], value.shape):  # noqa: B905
        shape[place] = size
    return graph.reshaped(value, shape)


def _reshape(graph: Graph, eqn: Any, values: list[Value]) -> Value:
    return graph.reshaped(
        graph.spread(values[0], of(eqn, 0)), eqn.outvars[0].aval.shape
    )


def _transpose(graph: Graph, eqn: Any, values: list[Value]) -> Value:
    value = graph.spread(values[0], of(eqn, 0))
    order = eqn.params["permutation"]
    return transposed(graph, value, order)


def transposed(graph: Graph, value: Value, order: tuple[int, ...]) -> Value:
    """The value with its axes in another order."""
    name = graph.node("Transpose", value.name, perm=list(order))
    return Value(name, tuple(value.shape[axis] for axis in order), value.dtype)


def _slice(graph: Graph, eqn: Any, values: list[Value]) -> Value:
    value = graph.spread(values[0], of(eqn, 0))
    start, end = eqn.params["start_indices"], eqn.params["limit_indices"]
    steps = eqn.params["strides"] or (1,) * len(start)
    return cut(graph, value, start, end, steps, eqn.outvars[0].aval.shape)


def cut(graph: Graph, value: Value, start, end, steps, shape) -> Value:
    """The part of a value from `start` to `end`, of that shape."""
    axes = graph.sizes(range(len(start)))
    ends = graph.sizes(start), graph.sizes(end)
    name = graph.node("Slice", value.name, *ends, axes, graph.sizes(steps))
    return Value(name, tuple(shape), value.dtype)


def _pad(graph: Graph, eqn: Any, values: list[Value]) -> Value:
    value, outside = values
    config = eqn.params["padding_config"]
    if any(inner for _, _, inner in config):
        raise NotImplementedError("pad between elements")
    value = graph.spread(value, of(eqn, 0))
    ends = [low for low, _, _ in config] + [high for _, high, _ in config]
    name = graph.node("Pad", value.name, graph.sizes(ends), outside.name)
    return Value(name, eqn.outvars[0].aval.shape, value.dtype)


def _concatenate(graph: Graph, eqn: Any, values: list[Value]) -> Value:
    whole = [graph.spread(value, of(eqn, i)).name for i, value in enumerate(values)]
    name = graph.node("Concat", *whole, axis=eqn.params["dimension"])
    return Value(name, eqn.outvars[0].aval.shape, values[0].dtype)


def _split(graph: Graph, eqn: Any, values: list[Value]) -> list[Value]:
    value, axis = graph.spread(values[0], of(eqn, 0)), eqn.params["axis"]
    parts, at = [], 0
    for out in eqn.outvars:
        shape = out.aval.shape
        start, end = [0] * len(shape), list(shape)
        start[axis], end[axis] = at, at + shape[axis]
        parts.append(cut(graph, value, start, end, [1] * len(shape), shape))
        at += shape[axis]
    return parts


def _squeeze(graph: Graph, eqn: Any, values: list[Value]) -> Value:
    return _reshape(graph, eqn, values)


def _reduction(operator: str) -> Operation:
    def operation(graph: Graph, eqn: Any, values: list[Value]) -> Value:
        value = graph.spread(values[0], of(eqn, 0))
        axes = graph.sizes(eqn.params["axes"])
        name = graph.node(operator, value.name, axes, keepdims=0)
        return Value(name, eqn.outvars[0].aval.shape, value.dtype)

    return operation


def _argmax(graph: Graph, eqn: Any, values: list[Value]) -> Value:
    value = graph.spread(values[0], of(eqn, 0))
    (axis,) = eqn.params["axes"]
    name = graph.node("ArgMax", value.name, axis=axis, keepdims=0)
    found = Value(name, eqn.outvars[0].aval.shape, np.dtype(np.int64))
    return graph.cast(found, eqn.params["index_dtype"])


def _iota(graph: Graph, eqn: Any, values: list[Value]) -> Value:
    shape, axis = eqn.params["shape"], eqn.params["dimension"]
    scalar = np.asarray(0, np.int64)
    end = graph.node("Reshape", graph.size(shape[axis]), graph.sizes(()))
    ends = graph.constant(scalar), end, graph.constant(scalar + 1)
    line = Value(graph.node("Range", *ends), (shape[axis],), np.dtype(np.int64))
    places: list[Any] = [1] * len(shape)
    places[axis] = shape[axis]
    return graph.cast(graph.reshaped(line, places), eqn.params["dtype"])


def _dim_as_value(graph: Graph, eqn: Any, values: list[Value]) -> Value:
    size = Value(graph.size(eqn.params["dim"]), (1,), np.dtype(np.int64))
    return graph.cast(graph.reshaped(size, ()), eqn.outvars[0].aval.dtype)


OPERATIONS: dict[str, Any] = {
    "broadcast_in_dim": _broadcast_in_dim,
    "reshape": _reshape,
    "transpose": _transpose,
    "slice": _slice,
    "pad": _pad,
    "concatenate": _concatenate,
    "split": _split,
    "squeeze": _squeeze,
    "reduce_sum": _reduction("ReduceSum"),
    "reduce_max": _reduction("ReduceMax"),
    "reduce_min": _reduction("ReduceMin"),
    "argmax": _argmax,
    "iota": _iota,
    "dim_as_value": _dim_as_value,
}
