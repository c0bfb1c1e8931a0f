"""Reading a command line: a parser that raises, config keys, misspelt options."""

import argparse
import math
import re
from collections.abc import Sequence
from typing import NoReturn

from resseg.errors import UserError, nearest

_LARGEST = 2**32 - 1  # the largest seed, too


class Parser(argparse.ArgumentParser):
    """argparse whose errors are UserErrors that know the options of their command."""

    def __init__(self, **settings):
        settings.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        super().__init__(allow_abbrev=False, **settings)
        self.register("type", int, _integer)
        self.register("type", float, _number)
        # In the result: the parser of the subcommand.
        self.set_defaults(parser=self, takes_keys=False)

    def error(self, message: str) -> NoReturn:
        wrong = re.search(r"invalid choice: '(.+?)' \(choose from (.+)\)", message)
        if wrong:
            message += nearest(wrong[1], re.findall(r"[\w-]+", wrong[2]))
        raise UsageError(message, self)


def _integer(text: str) -> int:
    """An int that every library below can hold; a command may want fewer of them."""
    try:
        value = int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"invalid int value: {text!r}") from None
    if abs(value) > _LARGEST:
        raise argparse.ArgumentTypeError(f"{text}: expected at most {_LARGEST}")
    return value


def _number(text: str) -> float:
    """A float that is finite."""
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"invalid float value: {text!r}") from None
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"{text}: expected a finite number")
    return value


class UsageError(UserError):
    """A command line that cannot be understood, and the parser that says so."""

    def __init__(self, message: str, parser: argparse.ArgumentParser):
        super().__init__(f"{message} (see {parser.prog} --help)")
        self.parser = parser


def split_overrides(argv: Sequence[str]) -> tuple[list[str], list[tuple[str, str]]]:
    """Takes `--config.KEY=VALUE` and `--config.KEY VALUE` out of a command line.

    Returns:
        The other arguments, and the (key, text) pairs in their order.
    """
    rest: list[str] = []
    overrides: list[tuple[str, str]] = []
    arguments = iter(argv)
    for argument in arguments:
        if not argument.startswith("--config."):
            rest.append(argument)
            continue
        key, equals, text = argument.removeprefix("--config.").partition("=")
        if not equals:
            text = next(arguments, "--")
            if text.startswith("--"):
                raise UserError(f"--config.{key}: expected a value after it")
        overrides.append((key, text))
    return rest, overrides


def refuse_unmeant(argv: Sequence[str]) -> None:
    """Arguments that a shell has made of something else than was meant.

    Raises:
        UserError: one is empty, as a variable that is not set; or begins with a `~`
            that no shell has replaced, as it stood behind `=`; or holds a NUL
            character, which no shell passes and no file name has.
    """
    before = "resseg"
    for argument in argv:
        option, equals, value = argument.partition("=")
        named, given = before, argument
        if option.startswith("--") and equals:
            named, given = option, value
        # A text that is empty has a meaning for some config keys.
        if not given.strip() and not named.startswith("--config."):
            raise UserError(f"{named}: expected a value, found {given!r}")
        if "\0" in given:
            raise UserError(f"{named}: {given!r} holds a NUL character")
        if given == "~" or given.startswith("~/"):
            raise UserError(
                f"{named}: {given}: the shell has not put your home folder there; "
                "write a space before it instead of =, or the whole path"
            )
        before = argument


def refuse_unknown(arguments: Sequence[str], parser: argparse.ArgumentParser) -> None:
    """Names the first option that `parser` does not have, and the nearest it has."""
    known = set(re.findall(r"--[a-z][a-z-]*", parser.format_usage())) | {"--help"}
    for argument in arguments:
        option = argument.partition("=")[0]
        word, dot, key = option.partition(".")
        if dot and "--config" in known and nearest(word, ["--config"]):
            raise UsageError(
                f"{option}: no such option (did you mean '--config.{key}'?)", parser
            )
        if option.startswith("--") and len(option) > 2 and option not in known:
            hint = nearest(option, sorted(known))
            raise UsageError(f"{option}: no such option{hint}", parser)
