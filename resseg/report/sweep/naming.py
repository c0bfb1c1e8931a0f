"""Short names of variants, for labels beside figures."""

from collections.abc import Mapping, Sequence
from typing import Any

from resseg.report.page import formatting
from resseg.sweeps.keys import short_names, typed_value
from resseg.sweeps.table.rows import identity

_LONG = 60  # characters of a label at most


def short(values: Sequence[Mapping[str, Any]], full: Sequence[str]) -> list[str]:
    """A label for each variant, unlike that of any other.

    Words stand for themselves, numbers with the end of their key; a key that follows
    from those before it, as a learning rate that goes with an optimizer, is left out.
    """
    keys = _telling(values)
    names = _ends(list(values[0]))  # what is left out must not be meant either
    labels = [
        formatting.shorten(
            ", ".join(_pair(names[key], each[key]) for key in keys) or name, _LONG
        )
        for each, name in zip(values, full, strict=True)
    ]
    return [
        text
        if labels.count(text) == 1
        else f"{formatting.shorten(text, _LONG - 6)} ({n})"
        for n, text in enumerate(labels, 1)
    ]


def _telling(values: Sequence[Mapping[str, Any]]) -> list[str]:
    kept: list[str] = []
    for key in values[0]:
        without = {identity(each, kept) for each in values}
        if len({identity(each, [*kept, key]) for each in values}) > len(without):
            kept.append(key)
    return kept


def _ends(keys: Sequence[str]) -> dict[str, str]:
    last = [key.rpartition(".")[2] for key in keys]
    whole = short_names(keys)
    return {
        key: end if last.count(end) == 1 else whole[key]
        for key, end in zip(keys, last, strict=True)
    }


def _pair(name: str, value: Any) -> str:
    return value if isinstance(value, str) else f"{name}={typed_value(value)}"
