"""Nodes and constants of a graph of ONNX while it is put together."""

import ast
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

OPSET = 18  # of the operators; ONNX Runtime has it since 1.14
_UNKNOWN = -1  # a size that Reshape works out
_OPERATORS: dict[type, str] = {ast.Add: "Add", ast.Sub: "Sub", ast.Mult: "Mul"}
_CALLS = {"floordiv": "Div", "mod": "Mod", "max": "Max", "min": "Min"}


class Value(NamedTuple):
    """A tensor of the graph.

    Attributes:
        name: of the tensor.
        shape: that it has there. Where JAX spreads a value over a shape, the graph
            keeps 1 and leaves it to the operator that meets it.
        dtype: of its elements.
    """

    name: str
    shape: tuple[Any, ...]
    dtype: np.dtype


class Graph:
    """Collects nodes and constants.

    Attributes:
        nodes: in an order in which they can be computed.
        constants: tensors of the file.
        arrays: the same by their names.
        symbols: int64 tensors `[1]` of the graph, by the symbol, or the expression of
            symbols, whose value they hold.
    """

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self.arrays: dict[str, np.ndarray] = {}
        self.symbols: dict[str, str] = {}
        self._known: dict[Any, str] = {}
        self._count = 0

    def fresh(self) -> str:
        """A name that no tensor has yet."""
        self._count += 1
        return f"t{self._count}"

    def node(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """Adds a node; the name of its result."""
        from onnx import helper

        name = self.fresh()
        self.nodes.append(
            helper.make_node(operator, list(inputs), [name], **attributes)
        )
        return name

    def constant(self, array: Any) -> str:
        """The name of a constant; equal small ones are one."""
        from onnx import numpy_helper

        array = np.asarray(array, order="C")
        key = None
        if array.size <= 64:
            key = array.dtype.str, array.shape, array.tobytes()
            if key in self._known:
                return self._known[key]
        name = self.fresh()
        self.constants.append(numpy_helper.from_array(array, name))
        self.arrays[name] = array
        if key is not None:
            self._known[key] = name
        return name

    def sizes(self, sizes: Sequence[Any]) -> str:
        """int64 `[n]` of sizes that are numbers or expressions of symbols."""
        if all(isinstance(size, int) for size in sizes):
            return self.constant(np.asarray(sizes, np.int64))
        parts = [self.size(size) for size in sizes]
        return self.node("Concat", *parts, axis=0) if len(parts) > 1 else parts[0]

    def size(self, size: Any) -> str:
        """int64 `[1]`."""
        if isinstance(size, int):
            return self.constant(np.asarray([size], np.int64))
        # As JAX writes an expression it reads it, see `jax.export.symbolic_shape`.
        text = str(size)
        if text not in self.symbols:
            self.symbols[text] = self._evaluated(ast.parse(text, mode="eval").body)
        return self.symbols[text]

    def _evaluated(self, tree: ast.expr) -> str:
        match tree:
            case ast.Name(id=name):
                return self.symbols[name]
            case ast.Constant(value=int(number)):
                return self.size(number)
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return self.node("Neg", self._evaluated(operand))
            case ast.BinOp(left=left, op=ast.Pow(), right=ast.Constant(value=int(n))):
                factor = self._evaluated(left)
                power = factor
                for _ in range(n - 1):
                    power = self.node("Mul", power, factor)
                return power
            case ast.BinOp(left=left, op=op, right=right):
                pair = self._evaluated(left), self._evaluated(right)
                return self.node(_OPERATORS[type(op)], *pair)
            case ast.Call(func=ast.Name(id="floordiv"), args=[left, right]):
                # Div rounds towards zero.
                over, by = self._evaluated(left), self._evaluated(right)
                rest = self.node("Mod", over, by)
                return self.node("Div", self.node("Sub", over, rest), by)
            case ast.Call(func=ast.Name(id=name), args=arguments):
                return self.node(_CALLS[name], *map(self._evaluated, arguments))
        raise NotImplementedError(f"size {ast.unparse(tree)}")

    def reshaped(self, value: Value, shape: Sequence[Any]) -> Value:
        """The same elements in another shape."""
        shape = tuple(shape)
        if value.shape == shape:
            return value
        name = self.node("Reshape", value.name, self.sizes(shape))
        return Value(name, shape, value.dtype)

    def spread(self, value: Value, shape: Sequence[Any]) -> Value:
        """The value with all its elements: for operators that need the whole shape."""
        shape = tuple(shape)
        if value.shape == shape:
            return value
        name = self.node("Expand", value.name, self.sizes(shape))
        return Value(name, shape, value.dtype)

    def cast(self, value: Value, dtype: Any) -> Value:
        """The value in another type."""
        from onnx import helper

        dtype = np.dtype(dtype)
        if value.dtype == dtype:
            return value
        to = helper.np_dtype_to_tensor_dtype(dtype)
        return Value(self.node("Cast", value.name, to=to), value.shape, dtype)

    def of_constant(self, array: Any) -> Value:
        """A constant as a value."""
        array = np.asarray(array)
        return Value(self.constant(array), array.shape, array.dtype)


Operation = Callable[[Graph, Any, list[Value]], Value]
