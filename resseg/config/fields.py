"""The fields of a config: which exist, which type each has, how text becomes it.

A field is named by its dotted key, `optim.learning_rate`. Its type is the type of its
default in `resseg.config.base`; the few that accept more are listed here.
"""

import functools
import json
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

from ml_collections import ConfigDict

from resseg.config import coefficients
from resseg.config.keys import COEFFICIENTS, base_config, flatten
from resseg.errors import UserError, nearest


def _as_bool(value: object) -> bool:
    if isinstance(value, bool):
        return value
    raise TypeError


def _as_int(value: object) -> int:
    if isinstance(value, Integral) and not isinstance(value, bool):
        return int(value)
    raise TypeError


def _as_float(value: object) -> float:
    if isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value):
        return float(value)
    raise TypeError


def _as_str(value: object) -> str:
    if isinstance(value, str):
        return value
    raise TypeError


def _as_none(value: object) -> None:
    if value is not None:
        raise TypeError


def _list_of(convert: Callable) -> Callable:
    def as_tuple(value: object) -> tuple:
        if isinstance(value, list | tuple):
            return tuple(convert(item) for item in value)
        raise TypeError

    return as_tuple


def _either(first: Callable, second: Callable) -> Callable:
    def as_either(value: object) -> object:
        try:
            return first(value)
        except TypeError:
            return second(value)

    return as_either


def _as_form(value: object) -> str:
    """The text that a config stores of a coefficient by steps, blocks or stages."""
    if isinstance(value, ConfigDict):
        value = value.to_dict()
    try:
        form = coefficients.decoded(value)
        if isinstance(form, dict):
            return json.dumps(form)
    except ValueError:
        pass
    raise TypeError


_as_entry = _either(_as_float, _as_form)


@dataclass(frozen=True)
class Kind:
    """A type of field: its name in messages, and `convert`, which raises TypeError."""

    words: str
    convert: Callable

    def wants_list(self) -> bool:
        return self in (INTS, FLOATS)


BOOL = Kind("true or false", _as_bool)
INT = Kind("int", _as_int)
FLOAT = Kind("finite float", _as_float)
STR = Kind("str", _as_str)
INTS = Kind("list of ints", _list_of(_as_int))
FLOATS = Kind("list of finite floats", _list_of(_as_float))
FLOAT_OR_NONE = Kind("finite float or none", _either(_as_float, _as_none))
COEFFICIENT = Kind(
    f"finite float, list of them, or a schedule such as {coefficients.EXAMPLE}",
    _either(_as_entry, _list_of(_as_entry)),
)
WEIGHTS = Kind(
    "list of finite floats or 'median_frequency'", _either(FLOATS.convert, _as_str)
)

# Fields whose default does not tell the whole type.
_MORE_THAN_DEFAULT = {
    **dict.fromkeys(COEFFICIENTS, COEFFICIENT),
    "data.rare_classes": INTS,
    "model.backbone.stage_sizes": INTS,
    "model.backbone.stage_strides": INTS,
    "model.backbone.multi_grid": INTS,
    "model.head.channels": INTS,
    "model.head.rates": INTS,
    "loss.class_weights": WEIGHTS,
    "optim.clip_norm": FLOAT_OR_NONE,
}
_BY_TYPE = {bool: BOOL, int: INT, float: FLOAT, str: STR}


def _kind_of_default(key: str, default: object) -> Kind:
    if key in _MORE_THAN_DEFAULT:
        return _MORE_THAN_DEFAULT[key]
    if isinstance(default, tuple) and default:
        return FLOATS if isinstance(default[0], float) else INTS
    return _BY_TYPE[type(default)]


@functools.cache
def kinds() -> dict[str, Kind]:
    """The type of every field of `resseg.config.base`."""
    defaults = flatten(base_config())
    return {key: _kind_of_default(key, value) for key, value in defaults.items()}


def check_key(key: str) -> None:
    """Raises UserError, with the nearest key, unless `key` names a field."""
    if key in kinds():
        return
    inside = [name for name in kinds() if name.startswith(f"{key}.")]
    if inside:
        listed = ", ".join(inside)
        raise UserError(f"config.{key}: a section, not a key; it holds {listed}")
    leaf = key.rpartition(".")[2]
    same_leaf = [name for name in kinds() if name.rpartition(".")[2] == leaf]
    raise UserError(
        f"config.{key}: no such key{nearest(key, same_leaf) or nearest(key, kinds())}"
    )


def check_keys(flat: Iterable[str]) -> None:
    """Raises UserError unless the keys are exactly those of `resseg.config.base`."""
    given = list(flat)
    for key in given:
        check_key(key)
    for key in kinds():
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
    try:
        return kinds()[key].convert(value)
    except TypeError:
        words = kinds()[key].words
        raise UserError(f"config.{key}={value!r}: expected {words}") from None


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


def _parse_forms(text: str) -> object:
    """Coefficients as JSON: a schedule, or a list with schedules in it."""
    try:
        return json.loads(text)
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
    kind = kinds()[key]
    if kind is STR:
        return text
    bare = text.strip()
    if kind is COEFFICIENT and "{" in bare:
        return normalise(key, _parse_forms(bare))
    bracketed = bare[:1] + bare[-1:] in ("()", "[]")
    if bracketed or "," in bare or kind.wants_list():
        items = (bare[1:-1] if bracketed else bare).split(",")
        value = [_parse_scalar(item) for item in items if item.strip()]
    else:
        value = _parse_scalar(bare)
    try:
        return kind.convert(value)
    except TypeError:
        raise UserError(f"config.{key}={text}: expected {kind.words}") from None
