"""`resseg describe`: the arguments, and what is printed."""

import argparse
import json
import re
from pathlib import Path
from typing import Any

from resseg.cli import options
from resseg.errors import UserError

SUMMARY = "show the network of a config: parts, shapes, costs, what it sees"
EPILOG = """\
examples:
  resseg describe --config quickstart
  resseg describe --config runs/quickstart --size 512x512
  resseg describe --config nuclei/unet --config.model.backbone.depth=50 \\
      --classes 21 --json
  resseg describe --config nuclei/unet --memory --config.train.remat=blocks

One row per stage, block and fork, in depth order; a row sums up the indented ones below
it. str. = stride, dil. = dilation, field = receptive field in pixels, MACs =
multiply-accumulates of the convolutions for one image. A terminal too narrow for all
columns shows fewer; a pipe gets all. Nothing is computed and no device is needed, but
for --memory, which compiles the train step for the devices here: what XLA plans to take
on each of them, before anything runs. config.train.remat and config.train.accumulate
lower it."""
ASSUMED_CLASSES = 2  # where nothing says how many there are


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments that `run` reads."""
    parser.add_argument(
        "--config",
        required=True,
        metavar="FILE",
        help="experiment by name or file, stored config.json or run folder",
    )
    parser.add_argument(
        "--size",
        metavar="HxW",
        help="height and width of the image (default: config.data.crop)",
    )
    parser.add_argument(
        "--classes",
        type=int,
        metavar="N",
        help="void not counted (default: those of the data set)",
    )
    parser.add_argument(
        "--json", action="store_true", help="the same for programs, every digit"
    )
    parser.add_argument(
        "--memory",
        action="store_true",
        help="what a train step takes of each device here, as XLA plans it",
    )
    options.add_overrides(parser)


def run(arguments: argparse.Namespace) -> int:
    """Prints the description of a config, with nothing computed.

    Raises:
        UserError: `--size` or `--classes` cannot be used.
    """
    config: Any = options.load(arguments.config, arguments.overrides)
    size = tuple(config.data.crop)
    if arguments.size is not None:
        size = parse_size(arguments.size)
    if arguments.classes is not None and arguments.classes < 1:
        raise UserError(f"--classes={arguments.classes}: expected 1 or more")

    if arguments.memory:
        return _print_memory(arguments, config, size)

    import jax

    # Tracing needs no accelerator: leave it to those who compute on it.
    jax.config.update("jax_platforms", "cpu")
    from resseg.blueprint.blueprint import Blueprint

    classes, origin = _classes(arguments, config.data)
    description = Blueprint.of(config, classes, size).description
    if arguments.json:
        values = description.as_dict() | {"num_classes_from": origin}
        print(json.dumps(values, indent=2))
        return 0
    from resseg.blueprint.table import print_description

    height, width = size
    heading = (
        f"{arguments.config}: {description.title}, {height}×{width} pixels, "
        f"{classes} classes ({origin})"
    )
    print_description(description, heading)
    return 0


def _print_memory(
    arguments: argparse.Namespace, config: Any, size: tuple[int, int]
) -> int:
    """Prints what a train step takes; returns the exit status."""
    from resseg.console import say
    from resseg.sharding import make_mesh, words
    from resseg.training.memory import estimate

    config.data.crop = size
    classes, _ = _classes(arguments, config.data)
    if not arguments.json:
        say("compiling the train step")
    found = estimate(config, classes)
    mesh = make_mesh(config.mesh.data, config.mesh.space)
    kind = mesh.devices.flat[0].device_kind
    if arguments.json:
        bytes_of = found._asdict() | {"total": found.total}
        facts = {"device": kind, "devices": mesh.size, "mesh": dict(mesh.shape)}
        print(json.dumps({"bytes": bytes_of, **facts}))
        return 0
    height, width = size
    print(
        f"{arguments.config}: a train step on each of {words(mesh)}, batch "
        f"{config.data.batch_size}, {height}×{width} pixels, "
        f"remat {config.train.remat}, accumulate {config.train.accumulate}"
    )
    for name, value in {**found._asdict(), "total": found.total}.items():
        print(f"{name:<8} {value / 2**20:10.1f} MiB")
    return 0


def parse_size(text: str) -> tuple[int, int]:
    """`520x480` -> (520, 480), height first.

    Raises:
        UserError: it is something else.
    """
    match = re.fullmatch(r"([1-9]\d{0,4})x([1-9]\d{0,4})", text)
    if match is None:
        raise UserError(
            f"--size={text!r}: expected HEIGHTxWIDTH in pixels, each 1 to 99999, "
            "such as 520x520"
        )
    return int(match[1]), int(match[2])


def _classes(arguments: argparse.Namespace, data: Any) -> tuple[int, str]:
    """How many classes, and who says so."""
    from resseg.runs import layout
    from resseg.runs.reader import open_run

    if arguments.classes is not None:
        return arguments.classes, "as asked for"
    if Path(arguments.config, layout.DATASET).is_file():
        return len(open_run(arguments.config).classes), "of the run"
    known = find_classes(data)
    if known is not None:
        return known, f"of data set {data.name}"
    return ASSUMED_CLASSES, f"assumed: data set {data.name} is not prepared"


def find_classes(data: Any) -> int | None:
    """Classes of the data set that `config.data` names; None where it is unknown.

    Nothing is drawn or downloaded for it.
    """
    from resseg.data import catalogue, shapes, sources

    if data.name == "shapes":
        return len(shapes.CLASSES)
    if data.name in sources.prepared(data.dir):
        return sources.dataset_spec(data).num_classes
    entry = catalogue.find(data.name)
    return len(entry.classes) if entry else None
