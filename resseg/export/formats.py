"""The formats of an export, by name."""

from collections.abc import Iterable

from resseg.errors import UserError, choose
from resseg.export.format import Format
from resseg.export.network import ExportedNetwork
from resseg.export.onnx_file import ONNX
from resseg.export.stablehlo import STABLEHLO
from resseg.export.tflite import TFLITE
from resseg.export.weights import SAFETENSORS

FORMATS = {
    "stablehlo": STABLEHLO,
    "onnx": ONNX,
    "tflite": TFLITE,
    "safetensors": SAFETENSORS,
}


def chosen(names: Iterable[str]) -> dict[str, Format]:
    """The formats of these names.

    Raises:
        UserError: there is none of a name.
    """
    names = list(dict.fromkeys(names))
    for name in names:
        choose("--format", name, FORMATS)
    return {name: FORMATS[name] for name in names}


def check(formats: dict[str, Format], network: ExportedNetwork) -> None:
    """That each can be written, before any is.

    Raises:
        UserError: a package is missing, or the size of images.
    """
    for name, each in formats.items():
        if each.needs_size and network.size is None:
            height, width = network.trained.config.data.crop
            raise UserError(
                f"--format {name}: its images have one size, give it with --size H,W "
                f"(the run was trained on --size {height},{width})"
            )
        each.check(network)
