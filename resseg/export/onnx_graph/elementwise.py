"""Primitives that compute element by element. ONNX spreads what they are given."""

from typing import Any

import numpy as np

from resseg.export.onnx_graph.graph import Graph, Operation, Value

_SAME = {  # name of JAX -> operator of ONNX
    "abs": "Abs",
    "add": "Add",
    "and": "And",
    "ceil": "Ceil",
    "div": "Div",
    "exp": "Exp",
    "floor": "Floor",
    "log": "Log",
    "logistic": "Sigmoid",
    "max": "Max",
    "min": "Min",
    "mul": "Mul",
    "neg": "Neg",
    "not": "Not",
    "or": "Or",
    "sign": "Sign",
    "sqrt": "Sqrt",
    "sub": "Sub",
    "tanh": "Tanh",
}
_COMPARISONS = {
    "eq": "Equal",
    "ge": "GreaterOrEqual",
    "gt": "Greater",
    "le": "LessOrEqual",
    "lt": "Less",
}


def broadcast(values: list[Value]) -> tuple[Any, ...]:
    """The shape that values of one shape of JAX have together."""
    rank = max(len(value.shape) for value in values)
    shapes = [(1,) * (rank - len(value.shape)) + value.shape for value in values]
    return tuple(
        next((size for size in sizes if not _is_one(size)), 1)
        for sizes in zip(*shapes, strict=True)
    )


def _is_one(size: Any) -> bool:
    return isinstance(size, int) and size == 1


def _same(name: str) -> Operation:
    def operation(graph: Graph, eqn: Any, values: list[Value]) -> Value:
        result = graph.node(name, *(value.name for value in values))
        return Value(result, broadcast(values), values[0].dtype)

    return operation


def _comparison(name: str) -> Operation:
    def operation(graph: Graph, eqn: Any, values: list[Value]) -> Value:
        result = graph.node(name, *(value.name for value in values))
        return Value(result, broadcast(values), np.dtype(bool))

    return operation


def _not_equal(graph: Graph, eqn: Any, values: list[Value]) -> Value:
    if values[0].dtype == bool:
        return _comparison("Xor")(graph, eqn, values)
    equal = _comparison("Equal")(graph, eqn, values)
    return equal._replace(name=graph.node("Not", equal.name))


def _rsqrt(graph: Graph, eqn: Any, values: list[Value]) -> Value:
    root = graph.node("Sqrt", values[0].name)
    return values[0]._replace(name=graph.node("Reciprocal", root))


def _square(graph: Graph, eqn: Any, values: list[Value]) -> Value:
    return _same("Mul")(graph, eqn, [values[0], values[0]])


def _integer_pow(graph: Graph, eqn: Any, values: list[Value]) -> Value:
    exponent = graph.of_constant(np.asarray(eqn.params["y"], values[0].dtype))
    return _same("Pow")(graph, eqn, [values[0], exponent])


def _remainder(graph: Graph, eqn: Any, values: list[Value]) -> Value:
    # That of C, with the sign of what is divided.
    result = graph.node("Mod", *(value.name for value in values), fmod=1)
    return Value(result, broadcast(values), values[0].dtype)


def _select(graph: Graph, eqn: Any, values: list[Value]) -> Value:
    which, no, yes = values
    if which.dtype != bool:
        raise NotImplementedError(f"select_n by {which.dtype}")
    result = graph.node("Where", which.name, yes.name, no.name)
    return Value(result, broadcast(values), no.dtype)


def _convert(graph: Graph, eqn: Any, values: list[Value]) -> Value:
    return graph.cast(values[0], eqn.params["new_dtype"])


def _itself(graph: Graph, eqn: Any, values: list[Value]) -> Value:
    return values[0]


OPERATIONS: dict[str, Operation] = {
    **{name: _same(operator) for name, operator in _SAME.items()},
    **{name: _comparison(operator) for name, operator in _COMPARISONS.items()},
    "ne": _not_equal,
    "rsqrt": _rsqrt,
    "square": _square,
    "integer_pow": _integer_pow,
    "rem": _remainder,
    "select_n": _select,
    "convert_element_type": _convert,
    "stop_gradient": _itself,
    "optimization_barrier": _itself,
    "copy": _itself,
}
