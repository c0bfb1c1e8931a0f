"""The `resseg` command. Parsing costs milliseconds: a command imports what it needs.

Wrong input ends in one line on stderr and exit status 2, before any device is touched.
"""

import argparse
import importlib
import os
import re
import sys
from collections.abc import Sequence
from typing import Protocol, cast

from resseg import __version__, malloc
from resseg.cli import interrupts
from resseg.cli.parser import (
    Parser,
    UsageError,
    refuse_unknown,
    refuse_unmeant,
    split_overrides,
)
from resseg.errors import UserError, choose
from resseg.text import never_raise, shown

# Every command, in the order of the help: its name, and its module in this package.
COMMANDS = {
    "train": "train",
    "evaluate": "evaluate",
    "calibrate": "calibrate",
    "predict": "predict",
    "inspect": "inspect",
    "autopsy": "autopsy",
    "report": "report",
    "probe": "probe",
    "sweep": "sweep",
    "table": "table",
    "runs": "runs",
    "config": "config",
    "describe": "describe",
    "export": "export",
    "import": "import_torch",
    "prune": "prune",
    "data": "data",
}
GONE = {"board": "resseg report DIR --watch --serve 8710"}  # and what to type instead
_ENDLESS = re.compile(r"\S{400,}")  # more than a path has; it would hide the reason
EPILOG = """\
start here:
  resseg train --config quickstart --workdir runs/quickstart
  resseg inspect runs/quickstart
  resseg report runs/quickstart

your own images:
  resseg data prepare cells --images photos --masks masks --classes background,cell
  resseg data check cells
  resseg train --config nuclei/unet --workdir runs/cells \\
      --config.data.name=cells
  resseg predict runs/cells photos --out segmented

`resseg COMMAND --help` shows the options of a command, with examples."""


class Command(Protocol):
    """What the module of a command has.

    Attributes:
        SUMMARY: what the command does, in a line of the list of commands.
        EPILOG: examples, and what else its help teaches.
    """

    SUMMARY: str
    EPILOG: str

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declares the arguments that `run` reads."""

    def run(self, arguments: argparse.Namespace) -> int:
        """Does it; returns the exit status."""
        ...


def load(name: str) -> Command:
    """The module of a command; at its top it imports nothing that takes time."""
    return cast(Command, importlib.import_module(f"resseg.cli.{COMMANDS[name]}"))


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; returns the exit status.

    Without `argv` it is the command of this process, which Ctrl-C ends at once.
    """
    if argv is None:
        if sys.argv[1:2] == ["train"]:
            malloc.keep_freed()
        interrupts.watch()
    _open_closed_streams()
    if argv is None:
        never_raise(sys.stdout)
    try:
        status = run(list(sys.argv[1:] if argv is None else argv))
        sys.stdout.flush()
        return status
    except BrokenPipeError:
        # The reader has gone, as in `resseg config FILE | head`. What is still buffered
        # would fail again when the interpreter flushes it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except KeyboardInterrupt:
        if argv is None:
            interrupts.leave()
        print("resseg: interrupted", file=sys.stderr)
        return interrupts.STATUS
    except Exception as error:
        reason = refusal(error)
        if reason is None:
            raise
        return _fail(reason)


def refusal(error: Exception) -> str | None:
    """What a user, the system or a device says no to, in words; None = our own fault.

    Any refusal of the system is one: which file it is about, and why, is all that there
    is to know of it.
    """
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, OSError) and error.errno is not None:
        files = [str(name) for name in (error.filename, error.filename2) if name]
        return f"{' and '.join(files) or 'output'}: {os.strerror(error.errno)}"
    if isinstance(error, MemoryError):
        return f"there is not enough memory: {error}"
    jax = sys.modules.get("jax")
    if jax is not None and isinstance(error, jax.errors.JaxRuntimeError):
        return f"the device says no: {error}"
    return None


def _open_closed_streams() -> None:
    """A stream that was closed before we began takes everything, and shows nothing."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115


def _fail(message: str) -> int:
    line = shown(_ENDLESS.sub(_shortened, " ".join(message.split())))
    # A name that is no text is shown as it can be.
    line = line.encode("utf-8", "backslashreplace").decode()
    print(f"resseg: error: {line}", file=sys.stderr)
    return 2


def _shortened(word: re.Match[str]) -> str:
    text = word[0]
    return f"{text[:80]}...{text[-40:]} ({len(text)} characters)"


def run(argv: list[str]) -> int:
    """Parses and runs one command.

    Raises:
        UserError: wrong input, of whatever kind.
    """
    command = argv[0] if argv and not argv[0].startswith("-") else ""
    if command in GONE:
        raise UserError(f"resseg {command} is now {GONE[command]}")
    if command:
        choose("command", command, COMMANDS)
    refuse_unmeant(argv)
    rest, overrides = split_overrides(argv)
    parser = build_parser(command)
    try:
        arguments, left = parser.parse_known_args(rest)
    except UsageError as error:
        # A misspelt option also leaves the right one missing: name the cause.
        refuse_unknown(rest, error.parser)
        raise
    if left:
        refuse_unknown(left, arguments.parser)
        raise UsageError(f"unexpected argument: {left[0]}", arguments.parser)
    if not command:
        parser.print_help()
        return 0
    if overrides and not arguments.takes_keys:
        taking = [name for name in COMMANDS if _takes_keys(name)]
        raise UsageError(
            f"--config.{overrides[0][0]}: only resseg {', '.join(taking)} take config "
            "keys",
            arguments.parser,
        )
    arguments.overrides = overrides
    # Before any command imports JAX, which reads it once.
    from resseg.programs.place import settle

    settle()
    return load(command).run(arguments)


def _takes_keys(name: str) -> bool:
    parser = Parser()
    load(name).add_arguments(parser)
    return parser.get_default("takes_keys")


def build_parser(command: str = "") -> Parser:
    """The parser of `command` alone; without one, that whose help lists them all."""
    parser = Parser(
        prog="resseg",
        description="Residual networks in image segmentation,\n"
        "with the gradient through every shortcut measured.",
        epilog=EPILOG,
    )
    parser.add_argument("--version", action="version", version=f"resseg {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    for name in [command] if command else COMMANDS:
        module = load(name)
        subparser = commands.add_parser(
            name,
            help=module.SUMMARY,
            description=f"{module.SUMMARY[0].upper()}{module.SUMMARY[1:]}.",
            epilog=module.EPILOG,
        )
        if command:
            module.add_arguments(subparser)
    return parser
