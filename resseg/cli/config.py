"""`resseg config`: the built-in experiments, one config, or two side by side."""

import argparse

from resseg.cli import options
from resseg.errors import UserError

SUMMARY = "print a config, check it, compare it with another"
EPILOG = """\
examples:
  resseg config quickstart
  resseg config quickstart --config.model.head.name=fcn
  resseg config nuclei/unet --diff nuclei/fcn
  resseg config runs/quickstart --diff quickstart

A star marks what differs from the base config, where every key is explained."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments that `run` reads."""
    parser.add_argument(
        "file",
        nargs="?",
        metavar="FILE",
        help="experiment by name or file, config.json or run folder (default: list "
        "the experiments that have a name)",
    )
    parser.add_argument(
        "--diff", metavar="OTHER", help="print only what differs from this one"
    )
    options.add_overrides(parser)


def run(arguments: argparse.Namespace) -> int:
    """Prints the keys of a config, or what differs from another.

    Raises:
        UserError: a config cannot be read, or is wrong.
    """
    from resseg.config.load import describe, diff, load_config

    if arguments.file is None:
        return _list(arguments)
    config = options.load(arguments.file, arguments.overrides)
    if arguments.diff is None:
        print(describe(config))
        return 0
    rows = diff(config, load_config(arguments.diff))
    print(f"{arguments.file} | {arguments.diff}: {len(rows)} keys differ")
    width = max((len(key) for key, _, _ in rows), default=0)
    for key, mine, other in rows:
        print(f"{key:{width}} = {mine!r} | {other!r}")
    return 0


def _list(arguments: argparse.Namespace) -> int:
    """Every name that `--config` takes, with what it is."""
    from resseg.config import builtin

    if arguments.diff or arguments.overrides:
        raise UserError("config: FILE is missing, expected an experiment to show")
    names = builtin.names()
    width = max(map(len, names))
    for name in names:
        print(f"{name:{width}}  {builtin.summary(name)}")
    return 0
