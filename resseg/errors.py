"""What a user did wrong, said in one line."""

import difflib
from collections.abc import Iterable


class UserError(ValueError):
    """Wrong input; the command line prints the message alone and exits with 2."""


def nearest(value: object, options: Iterable[object]) -> str:
    """ " (did you mean 'x'?)" for the option closest to `value`, else ""."""
    names = [str(option) for option in options]
    close = difflib.get_close_matches(str(value), names, n=1, cutoff=0.5)
    return f" (did you mean {close[0]!r}?)" if close else ""


def choose(field: str, value: object, options: Iterable[object]) -> None:
    """Raises UserError unless `value` is one of `options`."""
    options = list(options)
    if value not in options:
        listed = ", ".join(str(option) for option in options)
        hint = nearest(value, options)
        raise UserError(f"{field}={value!r}: choose from {listed}{hint}")
