"""`resseg describe`: the arguments, and what is printed."""

import argparse
import json
import re
from pathlib import Path
from typing import Any

from resseg.errors import UserError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments that `run_command` reads."""
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


def run_command(arguments: argparse.Namespace, config: Any) -> int:
    """Prints the description of a config.

    Raises:
        UserError: `--size` or `--classes` cannot be used.
    """
    size = tuple(config.data.crop)
    if arguments.size is not None:
        size = parse_size(arguments.size)
    if arguments.classes is not None and arguments.classes < 1:
        raise UserError(f"--classes={arguments.classes}: expected 1 or more")

    import jax

    # Tracing needs no accelerator: leave it to those who compute on it.
    jax.config.update("jax_platforms", "cpu")
    from resseg.blueprint.description import describe_model

    classes, origin = _classes(arguments, config.data)
    description = describe_model(config, size, classes)
    if arguments.json:
        values = description.as_dict() | {"num_classes_from": origin}
        print(json.dumps(values, indent=2))
        return 0
    from resseg.describe_table import print_description

    height, width = size
    heading = (
        f"{arguments.config}: {description.title}, {height}×{width} pixels, "
        f"{classes} classes ({origin})"
    )
    print_description(description, heading)
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
    from resseg.blueprint.description import ASSUMED_CLASSES, find_classes
    from resseg.runs import layout
    from resseg.runs.reader import open_run

    if arguments.classes is not None:
        return arguments.classes, "as asked for"
    if Path(arguments.config, layout.DATASET).is_file():
        return len(open_run(arguments.config).classes), "of the run"
    found = find_classes(data)
    if found is not None:
        return found, f"of data set {data.name}"
    return ASSUMED_CLASSES, f"assumed: data set {data.name} is not prepared"
