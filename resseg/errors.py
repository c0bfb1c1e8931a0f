"""What a user did wrong, said in one line."""

import contextlib
import difflib
import importlib.util
import os
from collections.abc import Iterable, Iterator, Sequence


class UserError(ValueError):
    """Wrong input; the command line prints the message alone and exits with 2."""


def nearest(value: object, options: Iterable[object], alike: float = 0.5) -> str:
    """ " (did you mean 'x'?)" for the option closest to `value`, else "".

    Args:
        value: as it was written.
        options: what it could have been.
        alike: 0 to 1, from how alike two words are taken for each other.
    """
    names = [str(option) for option in options]
    close = difflib.get_close_matches(str(value), names, n=1, cutoff=alike)
    return f" (did you mean {close[0]!r}?)" if close else ""


def some(names: Sequence[str], most: int = 8) -> str:
    """The first few of many names, and how many there are besides."""
    more = len(names) - most
    listed = ", ".join(names[:most])
    return f"{listed} and {more} more" if more > 0 else listed


@contextlib.contextmanager
def naming(path: str | os.PathLike) -> Iterator[None]:
    """A refusal of the system within is one of `path`, where it names no file.

    To open a file names it; to write to it or to close it, as on a full disk, does not.
    """
    try:
        yield
    except OSError as error:
        if error.errno is not None and error.filename is None:
            error.filename = os.fspath(path)
        raise


def choose(field: str, value: object, options: Iterable[object]) -> None:
    """Raises UserError unless `value` is one of `options`."""
    options = list(options)
    if value not in options:
        listed = ", ".join(str(option) for option in options)
        hint = nearest(value, options)
        raise UserError(f"{field}={value!r}: choose from {listed}{hint}")


def require_installed(module: str, extra: str, what: str) -> None:
    """Raises UserError where an optional package is missing.

    Args:
        module: that it installs.
        extra: of `pyproject.toml` that brings it.
        what: cannot be done without it.
    """
    if importlib.util.find_spec(module) is None:
        raise UserError(f"{what}: {module} is missing, pip install 'resseg[{extra}]'")
