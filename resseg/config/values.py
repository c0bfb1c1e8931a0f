"""What a config key may hold: its default, its type, and which values of that type.

Rows of keys say it as `real(0.5, SHARE)` or `choice("adamw", ("sgd", "adamw"))`.
"""

import json
import math
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

from ml_collections import ConfigDict

from resseg.config import coefficients
from resseg.errors import UserError, choose


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
    """A type of value.

    Attributes:
        words: its name in messages.
        convert: the value as a config holds it; raises TypeError for another type.
        mixed: whether it holds types that its default does not show.
        folder: whether it holds the path of a folder.
    """

    words: str
    convert: Callable
    mixed: bool = False
    folder: bool = False

    def wants_list(self) -> bool:
        return self in (INTS, FLOATS, TEXTS)

    def is_text(self) -> bool:
        return self in (STR, FOLDER)


BOOL = Kind("true or false", _as_bool)
INT = Kind("int", _as_int)
FLOAT = Kind("finite float", _as_float)
STR = Kind("str", _as_str)
FOLDER = Kind("str", _as_str, folder=True)
INTS = Kind("list of ints", _list_of(_as_int))
FLOATS = Kind("list of finite floats", _list_of(_as_float))
TEXTS = Kind("list of names", _list_of(_as_str))
FLOAT_OR_NONE = Kind("finite float or none", _either(_as_float, _as_none))
COEFFICIENT = Kind(
    f"finite float, list of them, or a schedule such as {coefficients.EXAMPLE}",
    _either(_as_entry, _list_of(_as_entry)),
    mixed=True,
)
WEIGHTS = Kind(
    "list of finite floats or 'median_frequency'",
    _either(FLOATS.convert, _as_str),
    mixed=True,
)


@dataclass(frozen=True)
class Range:
    """A condition on a value, or on each number of a list, and its words."""

    words: str
    holds: Callable[[Any], bool]


POSITIVE = Range("above 0", lambda x: x > 0)
NOT_NEGATIVE = Range("0 or above", lambda x: x >= 0)
COUNT_OR_LEFT = Range("0 or above, or -1", lambda x: x >= -1)
POSITIVE_OR_LEFT = Range("above 0, or -1", lambda x: x > 0 or x == -1)
SHARE = Range("between 0 and 1", lambda x: 0 <= x <= 1)
SHARE_ABOVE_ZERO = Range("above 0, up to 1", lambda x: 0 < x <= 1)
BELOW_ONE = Range("0 or above, below 1", lambda x: 0 <= x < 1)
BELOW_TWO = Range("0 or above, below 2", lambda x: 0 <= x < 2)
BELOW_HALF = Range("0 or above, below 0.5", lambda x: 0 <= x < 0.5)
UP_TO_HALF = Range("between 0 and 0.5", lambda x: 0 <= x <= 0.5)
QUALITY = Range("between 0 and 100", lambda x: 0 <= x <= 100)
INSIDE_ONE = Range("above 0, below 1", lambda x: 0 < x < 1)
SEED = Range("0 or above, below 2**32", lambda x: 0 <= x < 2**32)
LOSS_SCALE = Range("between 1 and 2**60", lambda x: 1 <= x <= 2**60)
LOSS_SCALE_OR_NONE = Range(
    "0, or between 1 and 2**60", lambda x: not x or 1 <= x <= 2**60
)
DEGREES = Range("between 0 and 180 degrees", lambda x: 0 <= x <= 180)
ONE_OR_TWO = Range("1 or 2", lambda x: x in (1, 2))
# Of coefficients: what holds at both ends of each of their schedules.
ANY_NUMBERS = Range("finite numbers", lambda x: True)
SHARES = Range("numbers between 0 and 1", SHARE.holds)
RATES = Range("numbers of 0 or above, below 1", BELOW_ONE.holds)
# Of texts.
NAME = Range("a name", bool)
TRACKERS = ("wandb", "mlflow", "trackio")
TRACKER = Range(f"names out of {', '.join(TRACKERS)}", lambda x: x in TRACKERS)
ANY_TEXT = Range("any text", lambda x: True)
_OPTIONS = Range("one of its choices", lambda x: True)
_EITHER = Range("true or false", lambda x: True)
UNSAID = Range("", lambda x: False)  # which no row may have

# What a coefficient may have one for.
BLOCK, LEVEL = "block", "long skip"
PYRAMID_BRANCH, AUXILIARY = "pyramid branch", "auxiliary head"


@dataclass(frozen=True)
class Value:
    """What a key may hold.

    Attributes:
        default: where an experiment does not set it; None = unset.
        kind: the type.
        allowed: which values of that type.
        options: all of them, where they are few and have names.
        lengths: that a list may have; () = any.
        one_per: of a coefficient: what there is one number for.
    """

    default: Any
    kind: Kind
    allowed: Range
    options: Collection = ()
    lengths: tuple[int, ...] = ()
    one_per: str = ""

    def check(self, field: str, value: Any) -> None:
        """Raises UserError unless a value of the right type is allowed.

        The numbers of coefficients are checked where it is known how many there are.
        """
        if self.options:
            choose(field, value, self.options)
        if not self.one_per and not all(map(self.allowed.holds, self._parts(value))):
            raise UserError(f"{field}={value!r}: expected {self.allowed.words}")
        if self.lengths and len(value) not in self.lengths:
            raise UserError(
                f"{field}={value!r}: expected {self._lengths()}, got {len(value)}"
            )

    def expected(self) -> str:
        """Type and allowed values in words."""
        if self.options:
            return f"one of {', '.join(repr(option) for option in self.options)}"
        words = [self.kind.words]
        if self.lengths:
            words.append(self._lengths())
        if self.one_per:
            words.append(f"one per {self.one_per} where it is a list")
        if self.allowed not in (_EITHER, ANY_TEXT, ANY_NUMBERS):
            words.append(self.allowed.words)
        return "; ".join(words)

    def _lengths(self) -> str:
        return f"{' or '.join(map(str, self.lengths))} numbers"

    def _parts(self, value: Any) -> Iterable[Any]:
        if isinstance(value, tuple):
            return value
        named = isinstance(value, str) and not self.kind.is_text()
        return () if value is None or named else (value,)


def flag(default: bool) -> Value:
    return Value(default, BOOL, _EITHER)


def integer(default: int, allowed: Range = UNSAID) -> Value:
    return Value(default, INT, allowed)


def real(default: float, allowed: Range = UNSAID) -> Value:
    return Value(default, FLOAT, allowed)


def optional_real(allowed: Range = UNSAID, default: float | None = None) -> Value:
    """A number or none."""
    return Value(default, FLOAT_OR_NONE, allowed)


def text(default: str, allowed: Range = UNSAID) -> Value:
    return Value(default, STR, allowed)


def folder(default: str, allowed: Range = UNSAID) -> Value:
    """A path, from where the command is given; a run stores where that is."""
    return Value(default, FOLDER, allowed)


def choice(default: Any, options: Collection[Any]) -> Value:
    """One of the options, all of them texts or all integers."""
    kind = STR if isinstance(default, str) else INT
    return Value(default, kind, _OPTIONS, options)


def integers(default: tuple, allowed: Range = UNSAID, *lengths: int) -> Value:
    return Value(default, INTS, allowed, lengths=lengths)


def reals(default: tuple, allowed: Range = UNSAID, *lengths: int) -> Value:
    return Value(default, FLOATS, allowed, lengths=lengths)


def texts(default: tuple, allowed: Range = UNSAID) -> Value:
    return Value(default, TEXTS, allowed)


def class_weights(allowed: Range = UNSAID) -> Value:
    """Numbers, one per class, or the name of a rule that finds them."""
    return Value((), WEIGHTS, allowed)


def coefficient(default: float, one_per: str, allowed: Range = UNSAID) -> Value:
    """See `resseg.config.coefficients`."""
    return Value(default, COEFFICIENT, allowed, one_per=one_per)
