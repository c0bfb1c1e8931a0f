"""TensorFlow Lite: images of one size, one at a time; without TensorFlow.

StableHLO as JAX lowers it becomes a file by the converter of LiteRT, which is a package
of its own.
"""

import contextlib
import math
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import export

from resseg.errors import UserError, require_installed
from resseg.export.format import Format, Run
from resseg.export.network import CLASSES, INPUT, ExportedNetwork
from resseg.export.stablehlo import example_shape
from resseg.export.traced import rewritten

FILE = "model.tflite"
_PACKAGES = ("litert_converter", "ai_edge_litert")
_SIGNATURE = "serving_default"


def check(network: ExportedNetwork) -> None:
    """That packages are there that write and run such a file.

    Raises:
        UserError: one is missing.
    """
    for package in _PACKAGES:
        require_installed(package, "tflite", "--format tflite")


def write(network: ExportedNetwork, path: Path) -> None:
    """Writes the file, its weights inside.

    Raises:
        UserError: the converter does not take the network.
    """
    with _heard():
        from litert_converter import (  # pyright: ignore[reportMissingImports]
            converter_api_ext,
        )
        from litert_converter.mlir import (  # pyright: ignore[reportMissingImports]
            ir,
            passmanager,
        )

    given = jax.ShapeDtypeStruct((1, *network.image_shape()[1:]), jnp.uint8)
    function = rewritten(network, {"dot_general": product}, given)
    program = export.export(jax.jit(function), platforms=["cpu"])(given)
    context = ir.Context()
    converter_api_ext.prepare_mlir_context(context)
    config = converter_api_ext.ConvertToTFLConfig()
    config.model_origin_framework = "JAX"
    with _heard() as said, context, ir.Location.unknown():
        module = ir.Module.parse(program.mlir_module())
        names = [INPUT], list(network.outputs)
        converter_api_ext.set_signature(module.operation, _SIGNATURE, *names)
        try:
            converter_api_ext.run_convert_to_tfl_passes(
                module, passmanager.PassManager(), config
            )
            content = converter_api_ext.export_flatbuffer_to_bytes(module.operation)
        except Exception as error:  # of several kinds, none of its own
            reason = " ".join(f"{error} {said()}".split())[:300]
            raise UserError(f"--format tflite: LiteRT's converter: {reason}") from error
    path.write_bytes(content)


def product(left: jax.Array, right: jax.Array, **params: Any) -> jax.Array:
    """`dot_general`. With a vector it is a sum of products.

    The converter (0.5.0) makes a product of matrices of it, and fails on its rank.
    """
    (left_summed, right_summed), (batch, _) = params["dimension_numbers"]
    sides = []
    for array, summed in ((left, left_summed), (right, right_summed)):
        free = [axis for axis in range(array.ndim) if axis not in summed]
        shape = [array.shape[axis] for axis in free]
        sides.append((jnp.transpose(array, [*free, *summed]), shape))
    (one, rows), (other, columns) = sides
    if batch or 1 not in (math.prod(rows), math.prod(columns)):
        return jax.lax.dot_general_p.bind(left, right, **params)
    one = one.reshape(math.prod(rows), 1, -1)
    other = other.reshape(1, math.prod(columns), -1)
    return (one * other).sum(-1).reshape(*rows, *columns)


@contextlib.contextmanager
def _heard() -> Iterator[Callable[[], str]]:
    """What libraries write to the file of stderr is kept, and shown to nobody."""
    with tempfile.TemporaryFile() as file:
        before = os.dup(2)
        os.dup2(file.fileno(), 2)

        def said() -> str:
            file.seek(0)
            return file.read().decode(errors="replace")

        try:
            yield said
        finally:
            os.dup2(before, 2)
            os.close(before)


def load(path: Path) -> Run:
    """The file in LiteRT's interpreter: images -> classes and scores."""
    with _heard():
        from ai_edge_litert.interpreter import (  # pyright: ignore[reportMissingImports]
            Interpreter,
        )

        interpreter = Interpreter(model_path=str(path))
        runner = interpreter.get_signature_runner(_SIGNATURE)
    (scores,) = set(runner.get_output_details()) - {CLASSES}

    def run(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        with _heard():
            each = [runner(**{INPUT: image[None]}) for image in images]
        found = ([results[name][0] for results in each] for name in (CLASSES, scores))
        classes, values = map(np.stack, found)
        return classes, values

    return run


def snippet(network: ExportedNetwork) -> str:
    """Python that runs the file, with LiteRT."""
    return f"""\
# pip install ai-edge-litert
import numpy as np
from ai_edge_litert.interpreter import Interpreter

model = Interpreter(model_path="{FILE}").get_signature_runner()
images = np.zeros({example_shape(network)}, np.uint8)
results = model({INPUT}=images)
{CLASSES}, {network.scores} = results["{CLASSES}"], results["{network.scores}"]
"""


TFLITE = Format(
    file=FILE,
    contract="one image at a time",
    check=check,
    write=write,
    load=load,
    snippet=snippet,
    needs_size=True,
)
