"""Options that several commands have, and what they mean."""

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ml_collections import ConfigDict


def add_step(parser: argparse.ArgumentParser) -> None:
    """`--step N`: which checkpoint of a run."""
    parser.add_argument(
        "--step",
        type=int,
        metavar="N",
        help="checkpoint of this step (default: the best one, else the latest)",
    )


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
