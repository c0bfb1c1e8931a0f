"""Swept config keys and their values, as people read and type them."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from resseg.config.fields import parse
from resseg.config.keys import plain
from resseg.errors import UserError, nearest

SEED = "seed"
_NEXT_PAIR = re.compile(r",(?=\s*[A-Za-z_][\w.]*=)")  # a value may hold commas


def short_names(keys: Sequence[str]) -> dict[str, str]:
    """Each key's last two words, or as many as tell it from the others."""
    return {key: _short(key, keys) for key in keys}


def _short(key: str, keys: Sequence[str]) -> str:
    words = key.split(".")
    for count in range(min(2, len(words)), len(words)):
        name = ".".join(words[-count:])
        if [other for other in keys if _ends(other, name)] == [key]:
            return name
    return key


def _ends(key: str, name: str) -> bool:
    return key == name or key.endswith(f".{name}")


def find_key(option: str, name: str, keys: Iterable[str]) -> str:
    """The one of `keys` that is called `name`, or that alone ends with it.

    Raises:
        UserError: none or several do; `option` begins the message.
    """
    keys = list(keys)
    named = [key for key in keys if _ends(key, name)]
    if name in named:
        return name
    if len(named) == 1:
        return named[0]
    if not keys:
        raise UserError(f"{option} {name!r}: the runs of this sweep set no key")
    listed = ", ".join(named or keys)
    what = "names several" if named else "no run sets it"
    raise UserError(
        f"{option} {name!r}: {what}; choose from {listed}{nearest(name, keys)}"
    )


def parse_values(option: str, text: str, keys: Iterable[str]) -> dict[str, Any]:
    """`KEY=VALUE,KEY=VALUE` as plain config values.

    Raises:
        UserError: a key that is none of `keys`, or a value of another type.
    """
    keys = list(keys)
    values = {}
    for pair in _NEXT_PAIR.split(text):
        name, equals, value = pair.strip().partition("=")
        if not equals:
            raise UserError(f"{option} {text!r}: expected KEY=VALUE, not {pair!r}")
        key = find_key(option, name, keys)
        values[key] = parse(key, value)
    return plain(values)


def typed_value(value: Any) -> str:
    """A config value as it is typed."""
    if isinstance(value, list | tuple):
        return ",".join(map(typed_value, value)) or "()"
    if isinstance(value, bool):
        return str(value).lower()
    return "none" if value is None else str(value)


def pairs(values: Mapping[str, Any], names: Mapping[str, str] | None = None) -> str:
    """`key=value key=value`, with short names where they are given."""
    return " ".join(
        f"{names[key] if names else key}={typed_value(value)}"
        for key, value in values.items()
    )
