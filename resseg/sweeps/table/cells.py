"""The columns of a table, and the text of each cell."""

import math
import unicodedata
from collections.abc import Callable
from typing import NamedTuple

from resseg.console import duration
from resseg.sweeps.keys import short_names, shown
from resseg.sweeps.table.measured import Cost
from resseg.sweeps.table.rows import Row
from resseg.sweeps.table.statistics import Estimate
from resseg.sweeps.table.table import Table

NOTHING = "-"


class Column(NamedTuple):
    """One column of a table for people.

    Attributes:
        header: short.
        cell: its text for a row.
        measured: numbers of ours; else config values, which may hold any character.
        spare: left out first where there is no room; 0 = never.
    """

    header: str
    cell: Callable[[Row], str]
    measured: bool = True
    spare: int = 0


def columns(table: Table) -> list[Column]:
    """Those of a table, left to right."""
    names = short_names(table.keys)
    keys = [
        Column(names[key], lambda row, key=key: shown(row.values[key]), measured=False)
        for key in table.keys
    ]
    return [*(keys or [variant()]), *_measured(table)]


def merged(table: Table) -> list[Column]:
    """As `columns`, with all keys in the first, and nothing that can be spared."""
    return [variant(), *(column for column in _measured(table) if not column.spare)]


def variant() -> Column:
    """All values of a row in one cell."""
    return Column("variant", lambda row: row.name, measured=False)


def _measured(table: Table) -> list[Column]:
    return [
        Column(table.metric, lambda row: score(row.score)),
        Column("n", lambda row: str(row.score.count), spare=1),
        Column("minus baseline", difference),
        Column("pairs", lambda row: str(len(row.pairs) or NOTHING), spare=1),
        Column("runs", lambda row: f"{row.finished}/{row.planned}"),
        Column("not finished", not_finished),
        Column("params", lambda row: _count(row.cost.params), spare=4),
        Column("MACs", lambda row: _macs(row.cost.macs), spare=4),
        Column("memory", lambda row: _bytes(row.cost.peak_memory), spare=5),
        Column("images/s", lambda row: _speed(row.cost.images_per_second), spare=3),
        Column("compile", lambda row: _time(row.cost.compile_seconds), spare=5),
        Column("time", lambda row: wall(row.cost), spare=2),
    ]


def clean(text: str) -> str:
    """One line, without characters that control a terminal."""
    kept = (" " if unicodedata.category(c).startswith("C") else c for c in text)
    return " ".join("".join(kept).split())


def number(value: float) -> str:
    """Four decimals, or two digits of what would show none there."""
    if not math.isfinite(value):
        return str(value)
    return f"{value:.4f}" if value == 0 or abs(value) >= 1e-4 else f"{value:.1e}"


def score(estimate: Estimate) -> str:
    """Mean and half width of its interval, or why there is none."""
    if not estimate.count:
        return NOTHING
    if estimate.why:
        return f"{number(estimate.mean)} ({estimate.why})"
    return f"{number(estimate.mean)} ± {number(estimate.half)}"


def difference(row: Row) -> str:
    """Mean and interval, or why there is none."""
    estimate = row.difference
    if estimate is None:
        return "baseline"
    if not estimate.count:
        return "no pair"
    if estimate.why:
        return f"{_signed(estimate.mean)} ({estimate.why})"
    ends = f"{_signed(estimate.low)}, {_signed(estimate.high)}"
    return f"{_signed(estimate.mean)} [{ends}]"


def not_finished(row: Row) -> str:
    """How many of its runs are in which other state; failures first."""
    order = ("failed", "broken off", "preempted", "running", "waiting")
    counts = [(row.states[word], word) for word in order]
    return ", ".join(f"{count} {word}" for count, word in counts if count)


def wall(cost: Cost) -> str:
    """Time from start to end; that at least, where an attempt has no end."""
    known = _time(cost.wall_seconds)
    return f"≥ {known}" if cost.partial and known != NOTHING else known


def _signed(value: float) -> str:
    text = number(value)
    return text if text.startswith("-") or math.isnan(value) else f"+{text}"


def _count(value: int | None) -> str:
    return NOTHING if value is None else f"{value:,}"


def _macs(value: int | None) -> str:
    if value is None:
        return NOTHING
    letter, factor = ("G", 1e9) if value >= 1e9 else ("M", 1e6)
    return f"{value / factor:.3f} {letter}"


def _bytes(value: float) -> str:
    return NOTHING if math.isnan(value) else f"{value / 2**20:,.0f} MiB"


def _speed(value: float) -> str:
    return NOTHING if math.isnan(value) else f"{value:.1f}"


def _time(seconds: float) -> str:
    return NOTHING if math.isnan(seconds) else duration(seconds)
