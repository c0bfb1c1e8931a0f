"""Convolutions, pooling and products. ONNX has the channels of an image in front."""

import math
from typing import Any

import numpy as np

from resseg.export.onnx_graph.graph import Graph, Value
from resseg.export.onnx_graph.shaping import of, transposed

_TO_FRONT, _TO_BACK = (0, 3, 1, 2), (0, 2, 3, 1)
_LETTERS = "abcdefghijklmnopqrstuvwxyz"


def _convolution(graph: Graph, eqn: Any, values: list[Value]) -> Value:
    params = eqn.params
    numbers = params["dimension_numbers"]
    last = ((0, 3, 1, 2), (3, 2, 0, 1), (0, 3, 1, 2))
    if tuple(map(tuple, numbers)) != last or params["batch_group_count"] != 1:
        raise NotImplementedError(f"convolution of layout {numbers}")
    image = transposed(graph, graph.spread(values[0], of(eqn, 0)), _TO_FRONT)
    kernel = graph.spread(values[1], of(eqn, 1))
    shape = eqn.outvars[0].aval.shape
    if any(each != 1 for each in params["lhs_dilation"]):
        name = _transposed_convolution(graph, params, image, kernel)
    else:
        lows, highs = zip(*params["padding"], strict=True)
        name = graph.node(
            "Conv",
            image.name,
            transposed(graph, kernel, (3, 2, 0, 1)).name,
            strides=list(params["window_strides"]),
            pads=[*lows, *highs],
            dilations=list(params["rhs_dilation"]),
            group=params["feature_group_count"],
        )
    front = tuple(shape[axis] for axis in _TO_FRONT)
    return transposed(graph, Value(name, front, values[0].dtype), _TO_BACK)


def _transposed_convolution(graph: Graph, params: Any, image: Value, kernel: Value):
    plain = {*params["window_strides"], *params["rhs_dilation"]} == {1}
    if not plain or params["feature_group_count"] != 1:
        raise NotImplementedError("a transposed convolution with strides or groups")
    height, width = kernel.shape[:2]
    # It turns its kernel round, and counts from the other side what is cut off.
    ends = graph.sizes([-1, -1]), graph.sizes([-height - 1, -width - 1])
    turned = graph.node(
        "Slice", kernel.name, *ends, graph.sizes([0, 1]), graph.sizes([-1, -1])
    )
    turned = transposed(graph, kernel._replace(name=turned), (2, 3, 0, 1))
    (top, bottom), (left, right) = params["padding"]
    pads = [height - 1 - top, width - 1 - left, height - 1 - bottom, width - 1 - right]
    strides = list(params["lhs_dilation"])
    return graph.node(
        "ConvTranspose", image.name, turned.name, strides=strides, pads=pads
    )


def _window(graph: Graph, eqn: Any, value: Value, operator: str, **more: Any) -> Value:
    params = eqn.params
    _, height, width, _ = params["window_dimensions"]
    outer = [params["window_dimensions"][axis] for axis in (0, 3)]
    dilated = {*params["base_dilation"], *params["window_dilation"]} != {1}
    if len(params["window_dimensions"]) != 4 or outer != [1, 1] or dilated:
        raise NotImplementedError(f"{eqn.primitive} over {params['window_dimensions']}")
    image = transposed(graph, graph.spread(value, of(eqn, 0)), _TO_FRONT)
    lows, highs = zip(*params["padding"][1:3], strict=True)
    name = graph.node(
        operator,
        image.name,
        kernel_shape=[height, width],
        strides=list(params["window_strides"][1:3]),
        pads=[*lows, *highs],
        **more,
    )
    front = tuple(eqn.outvars[0].aval.shape[axis] for axis in _TO_FRONT)
    return transposed(graph, Value(name, front, value.dtype), _TO_BACK)


def _windowed_maximum(graph: Graph, eqn: Any, values: list[Value]) -> Value:
    return _window(graph, eqn, values[0], "MaxPool")


def _windowed_sum(graph: Graph, eqn: Any, values: list[Value]) -> Value:
    mean = _window(graph, eqn, values[0], "AveragePool", count_include_pad=1)
    count = math.prod(eqn.params["window_dimensions"])
    factor = graph.constant(np.asarray(count, mean.dtype))
    return mean._replace(name=graph.node("Mul", mean.name, factor))


def _product(graph: Graph, eqn: Any, values: list[Value]) -> Value:
    (left_summed, right_summed), (left_batch, right_batch) = eqn.params[
        "dimension_numbers"
    ]
    left, right = (graph.spread(value, of(eqn, i)) for i, value in enumerate(values))
    shape, dtype = eqn.outvars[0].aval.shape, values[0].dtype
    plain = tuple(left_summed) == (len(left.shape) - 1,) and len(right.shape) == 2
    if plain and not left_batch:
        if tuple(right_summed) == (1,):
            right = transposed(graph, right, (1, 0))
        return Value(graph.node("MatMul", left.name, right.name), shape, dtype)
    letters = iter(_LETTERS)
    of_left = [next(letters) for _ in left.shape]
    of_right = [next(letters) for _ in right.shape]
    pairs = ((left_summed, right_summed), (left_batch, right_batch))
    for here, there in pairs:
        for i, j in zip(here, there, strict=True):
            of_right[j] = of_left[i]
    free = [of_left[i] for i in left_batch]
    for names, used in (
        (of_left, (*left_summed, *left_batch)),
        (of_right, (*right_summed, *right_batch)),
    ):
        free += [name for i, name in enumerate(names) if i not in used]
    equation = f"{''.join(of_left)},{''.join(of_right)}->{''.join(free)}"
    return Value(
        graph.node("Einsum", left.name, right.name, equation=equation), shape, dtype
    )


OPERATIONS: dict[str, Any] = {
    "conv_general_dilated": _convolution,
    "reduce_window_max": _windowed_maximum,
    "reduce_window_sum": _windowed_sum,
    "dot_general": _product,
}
