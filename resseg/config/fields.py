"""Which keys a config has, and how a value or text becomes what a key holds."""

import difflib
from collections.abc import Iterable
from typing import Any

from resseg.config.rows import KEYS
from resseg.config.values import COEFFICIENT, TEXTS
from resseg.errors import UserError, nearest
from resseg.text import parse_json


def check_key(key: str) -> None:
    """Raises UserError, with the nearest key, unless `key` names a field."""
    if key in KEYS:
        return
    names = sorted(KEYS)
    inside = [name for name in names if name.startswith(f"{key}.")]
    if inside:
        listed = ", ".join(inside)
        raise UserError(f"config.{key}: a section, not a key; it holds {listed}")
    raise UserError(f"config.{key}: no such key{_hint(key, names)}")


def _hint(key: str, names: list[str]) -> str:
    """The key that was meant: of the same section, or of the same last word."""
    section, _, leaf = key.rpartition(".")
    siblings = [name for name in names if name.rpartition(".")[0] == section]
    leaves = {name.rpartition(".")[2]: name for name in siblings}
    for meant in (
        [name for name in siblings if _abbreviates(leaf, name)],
        [leaves[word] for word in difflib.get_close_matches(leaf, leaves, n=1)],
        _of_fewest_words([n for n in siblings if _words(leaf) & _words(n)]),
        [name for name in names if _abbreviates(leaf, name)],
    ):
        if len(meant) == 1:
            return f" (did you mean {meant[0]!r}?)"
    same_leaf = [name for name in names if name.rpartition(".")[2] == leaf]
    others = set(names) - set(siblings)
    elsewhere = nearest(key, same_leaf) or nearest(key, sorted(others), 0.6)
    if elsewhere or not (section and siblings):
        return elsewhere
    return f"; config.{section} holds {', '.join(leaves)}"


def _abbreviates(leaf: str, name: str) -> bool:
    """`lr` for optim.learning_rate."""
    words = name.rpartition(".")[2].split("_")
    return len(words) > 1 and leaf == "".join(word[0] for word in words)


def _of_fewest_words(names: list[str]) -> list[str]:
    """`optim.weight_decay` and not `optim.norm_weight_decay`."""
    fewest = min((len(_words(name)) for name in names), default=0)
    return [name for name in names if len(_words(name)) == fewest]


def _words(name: str) -> set[str]:
    return set(name.rpartition(".")[2].split("_"))


def check_keys(flat: Iterable[str]) -> None:
    """Raises UserError unless the keys are exactly those of `resseg.config.rows`."""
    given = list(flat)
    for key in given:
        check_key(key)
    for key in KEYS:
        # Replacing a section drops its other keys; their defaults must not creep back.
        if key not in given:
            raise UserError(
                f"config.{key}: missing; start from base.get_config() and set keys one "
                "by one, a section must not be replaced"
            )


def normalise(key: str, value: object) -> Any:
    """`value` as the field holds it: lists become tuples, ints of float keys floats.

    Raises:
      UserError: no such key, or a value of another type.
    """
    check_key(key)
    kind = KEYS[key].value.kind
    try:
        return kind.convert(value)
    except TypeError:
        raise UserError(f"config.{key}={value!r}: expected {kind.words}") from None


def _parse_scalar(text: str) -> object:
    text = text.strip()
    words = {"none": None, "null": None, "true": True, "false": False}
    if text.lower() in words:
        return words[text.lower()]
    for convert in (int, float):
        try:
            return convert(text)
        except ValueError:
            continue
    return text


def _unquoted(text: str) -> str:
    return text.strip().strip("'\"")


def _parse_forms(text: str) -> object:
    """Coefficients as JSON: a schedule, or a list with schedules in it."""
    try:
        return parse_json(text)
    except ValueError:
        return text


def parse(key: str, text: str) -> object:
    """The value that `text`, from a command line, means for the field `key`.

    Lists may be written `128,128`, `(128, 128)` or `[128, 128]`; `none` clears an
    optional field.

    Raises:
      UserError: no such key, or text that does not fit its type; shown as it is.
    """
    check_key(key)
    kind = KEYS[key].value.kind
    if kind.is_text():
        return text
    bare = text.strip()
    if kind is COEFFICIENT and "{" in bare:
        return normalise(key, _parse_forms(bare))
    bracketed = bare[:1] + bare[-1:] in ("()", "[]")
    if bracketed or "," in bare or kind.wants_list():
        items = (bare[1:-1] if bracketed else bare).split(",")
        read = _unquoted if kind is TEXTS else _parse_scalar
        value = [read(item) for item in items if item.strip()]
    else:
        value = _parse_scalar(bare)
    try:
        return kind.convert(value)
    except TypeError:
        raise UserError(f"config.{key}={text}: expected {kind.words}") from None
