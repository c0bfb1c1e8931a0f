"""Options that several commands have, and what they mean."""

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from resseg.errors import UserError

if TYPE_CHECKING:
    from ml_collections import ConfigDict

    from resseg.inference.averaging import Averaging


def add_step(parser: argparse.ArgumentParser) -> None:
    """`--step N`: which checkpoint of a run."""
    parser.add_argument(
        "--step",
        type=int,
        metavar="N",
        help="checkpoint of this step (default: the best one, else the latest)",
    )


def add_averaging(parser: argparse.ArgumentParser) -> None:
    """What class probabilities are the mean of, alike in predict and evaluate."""
    group = parser.add_argument_group("mean of several predictions")
    group.add_argument(
        "--flip", action="store_true", help="of each image and its mirror image"
    )
    group.add_argument(
        "--scales",
        metavar="S,S",
        default="1",
        help="of the image at these scales, as in 0.5,1,1.5",
    )
    group.add_argument(
        "--average-checkpoints",
        type=int,
        default=1,
        metavar="N",
        help="take the mean of the weights of the N latest checkpoints",
    )
    group.add_argument(
        "--samples",
        type=int,
        metavar="N",
        help="of N passes with dropout, drop path and the like as in training",
    )
    group.add_argument(
        "--seed", type=int, metavar="N", help="of the samples (default: 0)"
    )
    group = parser.add_argument_group("large images")
    group.add_argument(
        "--tile",
        type=int,
        metavar="N",
        help="predict windows of N x N pixels that overlap, and blend them",
    )
    group.add_argument(
        "--overlap",
        type=float,
        metavar="SHARE",
        help="of neighbouring windows (default: 0.5)",
    )
    group.add_argument(
        "--blend",
        metavar="hann|gaussian",
        help="weights of the pixels of a window (default: hann)",
    )


def averaging(arguments: argparse.Namespace) -> "Averaging":
    """What `add_averaging` has read.

    Raises:
        UserError: a value is none that can be meant.
    """
    from resseg.inference.averaging import Averaging

    given = {
        name: value
        for name in ("tile", "samples", "seed", "overlap", "blend")
        if (value := getattr(arguments, name)) is not None
    }
    for name in ("tile", "samples"):  # to the library 0 is none of them
        if given.get(name, 1) < 1:
            raise UserError(f"--{name} {given[name]}: expected 1 or more")
    for name, other in (("seed", "samples"), ("overlap", "tile"), ("blend", "tile")):
        if name in given and other not in given:
            raise UserError(f"--{name}: expected --{other} N beside it")
    try:
        scales = tuple(float(text) for text in arguments.scales.split(","))
    except ValueError:
        raise UserError(
            f"--scales {arguments.scales}: expected numbers with commas between them, "
            "as in 0.5,1,1.5"
        ) from None
    return Averaging(scales=scales, flip=arguments.flip, **given)


def add_overrides(parser: argparse.ArgumentParser) -> None:
    """`--config.KEY VALUE`: marks a command that takes config keys."""
    # Only shown: `split_overrides` has taken them out before parsing.
    parser.add_argument_group("config keys").add_argument(
        "--config.KEY",
        metavar="VALUE",
        dest="overrides",
        help="set any key, as in --config.train.steps=500",
    )
    parser.set_defaults(takes_keys=True)


def load(path: str, overrides: Sequence[tuple[str, str]]) -> "ConfigDict":
    """The config of an experiment, with keys set from (key, text) pairs.

    Raises:
        UserError: see `resseg.config.load.load_config`.
    """
    from resseg.config.load import load_config, parse

    return load_config(path, {key: parse(key, text) for key, text in overrides})
