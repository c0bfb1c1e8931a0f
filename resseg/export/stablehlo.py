"""StableHLO in the container of `jax.export`: runs on CPU, GPU and TPU, with jax."""

from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax import export

from resseg.export.format import Format, Run
from resseg.export.network import ExportedNetwork

FILE = "model.stablehlo"
PLATFORMS = ("cpu", "cuda", "tpu")


def check(network: ExportedNetwork) -> None:
    """Nothing can be missing."""


def write(network: ExportedNetwork, path: Path) -> None:
    """Writes the program, its weights inside."""

    def exported(function: Callable, shape: tuple, dtype) -> export.Exported:
        of = export.export(jax.jit(function), platforms=PLATFORMS)
        return of(jax.ShapeDtypeStruct(shape, dtype))

    # A program of its own, whose symbols are those of padded sizes.
    body = exported(network.body, network.body_shape(), jnp.float32)

    def whole(images: jax.Array) -> tuple[jax.Array, jax.Array]:
        return network.finished(body.call(network.normalised(images)), images.shape)

    made = exported(whole, network.image_shape(), jnp.uint8)
    path.write_bytes(made.serialize())


def load(path: Path) -> Run:
    """The program of a file: images -> classes and scores."""
    made = export.deserialize(bytearray(path.read_bytes()))

    def run(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        classes, scores = made.call(images)
        return np.asarray(classes), np.asarray(scores)

    return run


def snippet(network: ExportedNetwork) -> str:
    """Python that runs the file, with jax alone."""
    return f"""\
# pip install jax flatbuffers
import numpy as np
from jax import export

with open("{FILE}", "rb") as file:
    model = export.deserialize(bytearray(file.read()))
images = np.zeros({example_shape(network)}, np.uint8)
classes, {network.scores} = model.call(images)
"""


def example_shape(network: ExportedNetwork) -> tuple[int, int, int, int]:
    """Of images that a snippet makes up."""
    height, width = network.size or (96, 128)
    return 1, height, width, 3


STABLEHLO = Format(
    file=FILE,
    contract=f"any batch; programs for {', '.join(PLATFORMS)}",
    check=check,
    write=write,
    load=load,
    snippet=snippet,
)
