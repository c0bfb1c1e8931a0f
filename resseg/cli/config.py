"""`resseg config`: the built-in experiments, a config, two side by side, a key."""

import argparse
import sys

from resseg.cli import options
from resseg.errors import UserError
from resseg.text import shown

SUMMARY = "print a config, check it, compare it with another, explain a key"
EPILOG = """\
examples:
  resseg config   (list the experiments that have names)
  resseg config quickstart
  resseg config quickstart --config.model.head.name=fcn
  resseg config nuclei/unet --diff nuclei/fcn
  resseg config runs/quickstart --diff quickstart
  resseg config --explain model.gradient.shortcut

A star marks what differs from the base config, where every key has its default."""


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
    parser.add_argument(
        "--explain",
        metavar="KEY",
        help="print meaning, default and allowed values of a key, and what else is "
        "known of it; with FILE, its value there",
    )
    options.add_overrides(parser)


def run(arguments: argparse.Namespace) -> int:
    """Prints the keys of a config, what differs from another, or one key's meaning.

    Raises:
        UserError: a config cannot be read, or is wrong; a key does not exist.
    """
    from resseg.config.load import describe, diff, load_config
    from resseg.config.remarks import remarks

    if arguments.explain is not None:
        return _explain(arguments)
    if arguments.file is None:
        return _list(arguments)
    config = options.load(arguments.file, arguments.overrides)
    if arguments.diff is None:
        print(describe(config))
        for line in remarks(config):
            print(line, file=sys.stderr)
        return 0
    rows = diff(config, load_config(arguments.diff))
    print(shown(f"{arguments.file} | {arguments.diff}: {len(rows)} keys differ"))
    width = max((len(key) for key, _, _ in rows), default=0)
    for key, mine, other in rows:
        print(f"{key:{width}} = {mine!r} | {other!r}")
    return 0


def _explain(arguments: argparse.Namespace) -> int:
    """What is known of one key, and its value in a config where one is given."""
    from resseg.config.explain import explain
    from resseg.config.keys import value_of

    if arguments.diff:
        raise UserError("--diff prints keys that differ, --explain one key: choose one")
    text = explain(arguments.explain)
    if arguments.file is not None:
        config = options.load(arguments.file, arguments.overrides)
        value = value_of(config, arguments.explain)
        text += f"\n  value     {value!r} in {arguments.file}"
    elif arguments.overrides:
        raise UserError("config: FILE is missing, expected an experiment to show")
    print(text)
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
