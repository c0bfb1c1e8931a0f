"""The `resseg` command. Parsing costs milliseconds: a subcommand imports what it needs.

Wrong input ends in one line on stderr and exit status 2, before any device is touched.
"""

import errno
import os
import sys
from collections.abc import Sequence

from resseg import __version__, interrupts
from resseg.command_line import Parser, UsageError, refuse_unknown, split_overrides
from resseg.errors import UserError, choose
from resseg.help_texts import COMMANDS, EPILOGS
from resseg.subcommands import ADDERS, RUNNERS

OVERRIDABLE = ("train", "config", "probe", "describe")  # take --config.KEY=VALUE
# What the machine refuses; any other OSError is a fault of the program.
_REFUSALS = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; returns the exit status.

    Without `argv` it is the command of this process, which Ctrl-C ends at once.
    """
    if argv is None:
        interrupts.watch()
    try:
        status = run(list(sys.argv[1:] if argv is None else argv))
        sys.stdout.flush()
        return status
    except UserError as error:
        return _fail(str(error))
    except BrokenPipeError:
        # The reader has gone, as in `resseg config FILE | head`. What is still buffered
        # would fail again when the interpreter flushes it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except OSError as error:
        if error.errno not in _REFUSALS:
            raise
        return _fail(f"{error.filename or 'output'}: {error.strerror}")
    except KeyboardInterrupt:
        if argv is None:
            interrupts.leave()
        print("resseg: interrupted", file=sys.stderr)
        return interrupts.STATUS


def _fail(message: str) -> int:
    line = " ".join(message.split())
    print(f"resseg: error: {line}", file=sys.stderr)
    return 2


def run(argv: list[str]) -> int:
    """Parses and runs one command.

    Raises:
        UserError: wrong input, of whatever kind.
    """
    command = argv[0] if argv and not argv[0].startswith("-") else ""
    if command:
        choose("command", command, COMMANDS)
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
    if overrides and command not in OVERRIDABLE:
        key = overrides[0][0]
        raise UsageError(
            f"--config.{key}: only resseg {', '.join(OVERRIDABLE)} take config keys",
            arguments.parser,
        )
    arguments.overrides = overrides
    return RUNNERS[command](arguments)


def build_parser(command: str) -> Parser:
    """The parser, with the arguments of `command` alone: declaring them may import."""
    parser = Parser(
        prog="resseg",
        description="Residual networks in image segmentation,\n"
        "with the gradient through every shortcut measured.",
        epilog=EPILOGS[""],
    )
    parser.add_argument("--version", action="version", version=f"resseg {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    for name, summary in COMMANDS.items():
        subparser = commands.add_parser(
            name,
            help=summary,
            description=f"{summary[0].upper()}{summary[1:]}.",
            epilog=EPILOGS[name],
        )
        if name == command:
            ADDERS[name](subparser)
    return parser
