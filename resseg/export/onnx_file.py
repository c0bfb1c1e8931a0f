"""ONNX: runs in ONNX Runtime, and in what reads its files."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from resseg.errors import UserError, require_installed
from resseg.export.format import Format, Run
from resseg.export.network import CLASSES, INPUT, LOGITS, ExportedNetwork
from resseg.export.onnx_graph.graph import OPSET, Graph, Value
from resseg.export.onnx_graph.shaping import cut
from resseg.export.onnx_graph.walk import emit
from resseg.export.stablehlo import example_shape

FILE = "model.onnx"
_PACKAGES = ("onnx", "onnxruntime")


def check(network: ExportedNetwork) -> None:
    """That packages are there that write and run such a file.

    Raises:
        UserError: one is missing.
    """
    for package in _PACKAGES:
        require_installed(package, "export", "--format onnx")


def write(network: ExportedNetwork, path: Path) -> None:
    """Writes the graph, its weights inside.

    Raises:
        UserError: the network has an operation that has no place in the graph.
    """
    import onnx
    from onnx import TensorProto, helper

    graph = Graph()
    try:
        results = _nodes(graph, network)
    except NotImplementedError as error:
        raise UserError(
            f"--format onnx: {error} has no operator of ONNX here"
        ) from None
    shape = [*map(str, network.image_shape()[:1]), *_known(network), 3]
    given = helper.make_tensor_value_info(INPUT, TensorProto.UINT8, shape)
    types = (TensorProto.UINT8, TensorProto.FLOAT)
    count = len(network.trained.classes)
    outs = [
        helper.make_tensor_value_info(name, kind, [*shape[:3], *more])
        for name, kind, more in zip(network.outputs, types, ([], [count]), strict=True)
    ]
    for name, value in zip(network.outputs, results, strict=True):
        graph.nodes.append(helper.make_node("Identity", [value.name], [name]))
    made = helper.make_graph(graph.nodes, "resseg", [given], outs, graph.constants)
    model = helper.make_model(
        made,
        producer_name="resseg",
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=9,
    )
    onnx.save_model(model, path)


def _known(network: ExportedNetwork) -> tuple[Any, Any]:
    return network.size or ("height", "width")


def _nodes(graph: Graph, network: ExportedNetwork) -> list[Value]:
    """All of the network: what is before and behind its body too."""
    batch, height, width = _image_sizes(graph, network)
    shape = (batch, height, width, 3)
    image = Value(INPUT, shape, np.dtype(np.uint8))
    image = graph.cast(image, np.float32)
    for operator, numbers in zip(("Sub", "Mul"), network.normalisation, strict=True):
        name = graph.node(operator, image.name, graph.constant(numbers))
        image = image._replace(name=name)
    seen = network.body_shape()
    sizes = [graph.size(size) for size in seen[1:3]]
    missing = [
        graph.node("Sub", size, graph.size(side))
        for size, side in zip(sizes, (height, width), strict=True)
    ]
    none = graph.size(0)
    ends = graph.node("Concat", *[none] * 5, *missing, none, axis=0)
    padded = graph.node("Pad", image.name, ends, graph.constant(np.float32(0)))
    traced = jax.make_jaxpr(network.body)(jax.ShapeDtypeStruct(seen, jnp.float32))
    (logits,) = emit(graph, traced, [Value(padded, seen, image.dtype)])
    return _finished(graph, network, logits, shape)


def _image_sizes(graph: Graph, network: ExportedNetwork) -> tuple[Any, Any, Any]:
    """Batch, height and width; what the symbols of all sizes are is known then."""
    whole = graph.node("Shape", INPUT)
    given = network.image_shape()[:3]
    for place, (size, symbol) in enumerate(zip(given, "bpq", strict=True)):
        if isinstance(size, int):
            continue
        read = graph.node(
            "Slice", whole, *(graph.sizes([n]) for n in (place, place + 1, 0, 1))
        )
        graph.symbols[str(size)] = read
        if symbol == "b":
            graph.symbols[symbol] = read
            continue
        by = graph.size(network.multiple)
        more = graph.node("Add", read, graph.size(network.multiple - 1))
        graph.symbols[symbol] = graph.node("Div", more, by)
    return given


def _finished(
    graph: Graph, network: ExportedNetwork, logits: Value, shape: tuple[Any, ...]
) -> list[Value]:
    """The results: see `ExportedNetwork.finished`."""
    size = (*shape[:3], logits.shape[-1])
    logits = cut(graph, logits, (0,) * 4, size, (1,) * 4, size)
    found = graph.node("ArgMax", logits.name, axis=3, keepdims=0)
    classes = graph.cast(Value(found, size[:3], np.dtype(np.int64)), np.uint8)
    temperature = graph.constant(np.float32(network.trained.temperature))
    scores = graph.node("Div", logits.name, temperature)
    if network.scores != LOGITS:
        scores = graph.node("Softmax", scores, axis=3)
    return [classes, logits._replace(name=scores)]


def load(path: Path) -> Run:
    """The graph of a file in ONNX Runtime, on a CPU: images -> classes and scores."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        str(path), options, providers=["CPUExecutionProvider"]
    )

    def run(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        classes, scores = session.run(None, {INPUT: images})
        return np.asarray(classes), np.asarray(scores)

    return run


def snippet(network: ExportedNetwork) -> str:
    """Python that runs the file, with ONNX Runtime."""
    return f"""\
# pip install onnxruntime
import numpy as np
import onnxruntime

model = onnxruntime.InferenceSession("{FILE}", providers=["CPUExecutionProvider"])
images = np.zeros({example_shape(network)}, np.uint8)
{CLASSES}, {network.scores} = model.run(None, {{"{INPUT}": images}})
"""


ONNX = Format(
    file=FILE,
    contract=f"any batch; operators of opset {OPSET}",
    check=check,
    write=write,
    load=load,
    snippet=snippet,
)
