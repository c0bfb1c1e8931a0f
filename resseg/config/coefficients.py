"""The coefficients of shortcuts and branches: what a config may say, as numbers.

A coefficient is

    0.5                               the same for every block
    (0.5, 0.5, 1.0, …)                one per block (level, branch of a pyramid)
    {"linear": [1.0, 0.0, 0, 1000]}   from 1 at step 0 to 0 at step 1000, then constant
    {"depth": [1.0, 0.3]}             linear over the blocks, first to last
    {"power": -0.5}                   L ** -0.5 for L blocks
    {"stage2": 0.5, "stage3": 0.0}    by stage, each as above; 1 where none is named

and the entries of a list may be schedules of their own. All become one `Schedule` per
block, so that a constant is a schedule that stays where it is. A config stores what
stands in braces as its JSON text. A step here is the number of updates made: the nth
update, which is row n of the log, is made with the value at n - 1.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

from resseg.errors import nearest
from resseg.text import parse_json

EXAMPLE = '{"linear": [1.0, 0.0, 0, 1000]}'
FORMS = {"linear": 4, "depth": 2, "power": 1}  # numbers that each takes


class Schedule(NamedTuple):
    """A number that moves in a straight line between two steps.

    Attributes:
        start, end: its values until the step `first` and from the step `last` on.
    """

    start: float
    end: float
    first: float = 0.0
    last: float = 0.0


def constant(value: float) -> Schedule:
    return Schedule(float(value), float(value))


def expand(
    value: Any, count: int, places: Sequence[str] = (), neutral: float = 1.0
) -> tuple[Schedule, ...]:
    """One schedule for each of `count` places.

    Args:
        value: a coefficient, see above.
        count: how many there are.
        places: the stage, level or branch that each belongs to, where they have names.
        neutral: the value of places that a value by name leaves out.

    Raises:
        ValueError: it is no coefficient, or a list of another length; the message says
            what was expected.
    """
    value = decoded(value)
    if isinstance(value, dict):
        return _expand_form(value, count, places, neutral)
    if _is_number(value):
        return (constant(value),) * count
    if isinstance(value, list | tuple):
        if len(value) != count:
            wanted = f"one number or {count}" if count else "one number, there is none"
            raise ValueError(f"expected {wanted}, got {len(value)}")
        return tuple(expand(entry, 1)[0] for entry in value)
    raise ValueError(f"expected a number, a list or one of {', '.join(FORMS)}")


def decoded(value: Any) -> Any:
    """The coefficient behind JSON text; every other value as it is.

    Raises:
        ValueError: text that is no JSON object.
    """
    if not isinstance(value, str):
        return value
    try:
        form = parse_json(value)
    except ValueError as error:
        raise ValueError(f"expected JSON such as {EXAMPLE}: {error}") from None
    if not isinstance(form, dict):
        raise ValueError(f"expected a number, a list, or JSON such as {EXAMPLE}")
    return form


def is_scheduled(value: Any) -> bool:
    """Whether a coefficient moves with the steps anywhere."""
    value = decoded(value)
    if isinstance(value, dict):
        return "linear" in value or any(map(is_scheduled, value.values()))
    return isinstance(value, list | tuple) and any(map(is_scheduled, value))


def is_neutral(value: Any, neutral: float = 1.0) -> bool:
    """Whether it is `neutral` wherever and whenever; a value by stage counts as not."""
    value = decoded(value)
    if isinstance(value, list | tuple):
        return all(is_neutral(entry, neutral) for entry in value)
    return value == neutral


def _expand_form(
    value: dict[str, Any], count: int, places: Sequence[str], neutral: float
) -> tuple[Schedule, ...]:
    form = next((name for name in value if name in FORMS), None)
    if form is None:
        return _by_name(value, places, neutral)
    if len(value) > 1:
        raise ValueError(f"expected {form!r} alone, got {', '.join(value)}")
    numbers = _numbers(form, value[form])
    if form == "linear":
        start, end, first, last = numbers
        if not 0 <= first <= last:
            raise ValueError("expected linear: [from, to, first step, last step]")
        return (Schedule(start, end, first, last),) * count
    if form == "depth":
        first, last = numbers
        steps = max(count - 1, 1)
        return tuple(constant(first + (last - first) * i / steps) for i in range(count))
    return (constant(max(count, 1) ** numbers[0]),) * count


def _by_name(
    value: dict[str, Any], places: Sequence[str], neutral: float
) -> tuple[Schedule, ...]:
    known = list(dict.fromkeys(places))
    for name in value:
        if name not in known:
            listed = ", ".join([*known, *FORMS])
            hint = nearest(name, [*known, *FORMS])
            raise ValueError(f"{name!r} is none of {listed}{hint}")
    values = {
        name: iter(expand(entry, list(places).count(name)))
        for name, entry in value.items()
    }
    return tuple(
        next(values[place]) if place in values else constant(neutral)
        for place in places
    )


def _numbers(form: str, value: Any) -> list[float]:
    count = FORMS[form]
    listed = list(value) if isinstance(value, list | tuple) else [value]
    if len(listed) != count or not all(map(_is_number, listed)):
        raise ValueError(f"{form}: expected {count} finite numbers, got {value!r}")
    return [float(number) for number in listed]


def _is_number(value: Any) -> bool:
    real = isinstance(value, int | float) and not isinstance(value, bool)
    return real and math.isfinite(value)
