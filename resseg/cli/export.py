"""`resseg export`: a trained run -> files that run without resseg."""

import argparse
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resseg.cli import options, outputs
from resseg.errors import UserError, choose

if TYPE_CHECKING:
    from resseg.export.folder import Images
    from resseg.inference.trained import Trained
    from resseg.runs import Run

_FORMATS = "stablehlo,safetensors"  # that every user can run
SUMMARY = "write a trained run in formats that run without resseg"
EPILOG = """\
examples:
  resseg export runs/cells
  resseg export runs/cells --format stablehlo,onnx --out exported
  resseg export runs/cells --format tflite --size 256,256 --out phone
  resseg import exported/model.safetensors --workdir runs/again

formats:
  stablehlo    jax.export, for CPU, GPU and TPU
  onnx         ONNX Runtime and others (pip install 'resseg[export]')
  tflite       LiteRT, one image of one size (pip install 'resseg[tflite]')
  safetensors  the weights to the bit, and what makes them a run again

Bytes of an image go in; classes and probabilities of its size come out. Each file is
run on real images beside the network: where a probability differs by more than the
tolerance, or a class flips that the network was surer of than that, nothing is written.
README.md says what the model is, export.json the same for programs."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments that `run` reads."""
    parser.add_argument("run", metavar="RUN", help="run folder")
    parser.add_argument(
        "--out", metavar="DIR", help="folder of the export (default: RUN/export)"
    )
    parser.add_argument(
        "--format",
        action="append",
        metavar="F,F",
        help="formats, with commas between, or one after another "
        f"(default: {_FORMATS})",
    )
    parser.add_argument(
        "--size", metavar="H,W", help="images of this size alone (default: of any)"
    )
    parser.add_argument(
        "--scores",
        default="probabilities",
        metavar="S",
        help="probabilities or logits, besides the classes (default: %(default)s)",
    )
    parser.add_argument(
        "--images",
        metavar="DIR",
        help="compare on images of this folder (default: of the run's eval_split)",
    )
    parser.add_argument(
        "--compare",
        type=int,
        default=8,
        metavar="N",
        help="compare on so many images (default: %(default)s)",
    )
    parser.add_argument(
        "--tolerance",
        type=float,
        metavar="X",
        help="by which a probability may differ (default: 1e-3)",
    )
    parser.add_argument(
        "--data-dir",
        metavar="DIR",
        help="where prepared data sets live (default: where they were in training)",
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="replace an export that is there"
    )
    options.add_step(parser)


def run(arguments: argparse.Namespace) -> int:
    """Writes the folder of an export.

    Raises:
        UserError: wrong input, or a file does not compute what the network does;
            nothing has been written.
    """
    from resseg import text
    from resseg.console import say
    from resseg.export import folder, formats
    from resseg.export.comparison import TOLERANCE
    from resseg.export.network import SCORES, ExportedNetwork
    from resseg.inference.trained import load_trained
    from resseg.report import card
    from resseg.report.run import page
    from resseg.runs import open_run, write_json
    from resseg.runs.calibration import read_calibration

    chosen = formats.chosen(
        filter(None, ",".join(arguments.format or [_FORMATS]).split(","))
    )
    choose("--scores", arguments.scores, SCORES)
    size = _size(arguments.size)
    _check_positive("--compare", arguments.compare)
    _check_positive("--tolerance", arguments.tolerance)
    opened = open_run(arguments.run)
    out = Path(arguments.out or opened.path / "export")
    outputs.refuse_own(f"--out {out}", out)
    folder.check_free(out, arguments.overwrite)
    trained = load_trained(opened, arguments.step)
    calibration = read_calibration(opened.path, trained.step)
    network = ExportedNetwork(
        trained, opened.dataset, calibration, arguments.scores, size
    )
    formats.check(chosen, network)
    images = _images(arguments, opened, trained)
    tolerance = arguments.tolerance or TOLERANCE
    report = page.read(opened.path)
    with folder.beside(out) as partial:
        written = folder.write_files(partial, chosen, network, images, tolerance)
        given = report, network, written, images
        text.write(partial / folder.CARD, card.card(*given))
        write_json(partial / folder.FACTS, card.facts_of(*given))
    for name, each in written.items():
        difference = each.difference
        say(
            f"{out / each.file}  {each.size / 1e6:.1f} MB  {name}: probabilities "
            f"differ by {difference.largest:.2g} at most, {difference.flips:,} of "
            f"{difference.pixels:,} pixels have another class"
        )
    say(f"compared on {len(images.arrays)} images of {images.source}; {out}/README.md")
    if "safetensors" in written:
        file = shlex.quote(str(out / written["safetensors"].file))
        say(f"a run again: resseg import {file} --workdir DIR")
    return 0


def _size(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    sides = text.replace("x", ",").split(",")
    if len(sides) != 2 or not all(side.strip().isdecimal() for side in sides):
        raise UserError(f"--size {text}: expected height and width, as in 256,320")
    height, width = map(int, sides)
    if not (0 < height <= 1 << 16 and 0 < width <= 1 << 16):
        raise UserError(f"--size {text}: expected 1 to {1 << 16} pixels a side")
    return height, width


def _check_positive(option: str, value: float | None) -> None:
    if value is not None and not value > 0:
        raise UserError(f"{option} {value}: expected more than 0")


def _images(arguments: argparse.Namespace, run: "Run", trained: "Trained") -> "Images":
    """What the export is compared on.

    Raises:
        UserError: there are none, or they cannot be read.
    """
    from resseg.cli.scored_data import copy_with_data
    from resseg.data import depth
    from resseg.data.reading import load_image
    from resseg.export.comparison import of_split, spread_evenly
    from resseg.export.folder import Images

    if arguments.images:
        from resseg.cli.predict import find_images

        paths, _ = find_images(Path(arguments.images))
        bits = run.bits or 16
        places = spread_evenly(len(paths), arguments.compare)
        arrays: Any = [
            depth.in_8_bits(load_image(paths[place]), bits) for place in places
        ]
        return Images(Path(arguments.images).name or "the folder", arrays)
    config = copy_with_data(trained.config, None, arguments.data_dir)
    try:
        arrays = list(of_split(config.data, arguments.compare))
    except UserError as error:
        raise UserError(
            f"{error}; an export is compared on images: --data-dir says where the data "
            "set is, --images DIR takes others"
        ) from error
    return Images(f"{config.data.name}/{config.data.eval_split}", arrays)
