"""The columns of a table, and the text of each cell."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from resseg.console import duration
from resseg.sweeps.keys import short_names, typed_value
from resseg.sweeps.table.measured import Cost
from resseg.sweeps.table.rows import Row
from resseg.sweeps.table.statistics import Estimate
from resseg.sweeps.table.table import Table

NOTHING = "-"


class TableColumn(NamedTuple):
    """One column of a table for people.

    Attributes:
        header: short.
        cell: its text for a row.
        value: what rows are sorted by; None or NaN where nothing is known.
        measured: numbers of ours; else config values, which may hold any character.
        spare: left out first where there is no room; 0 = never.
    """

    header: str
    cell: Callable[[Row], str]
    value: Callable[[Row], Any]
    measured: bool = True
    spare: int = 0


def columns(table: Table) -> list[TableColumn]:
    """Those of a table, left to right."""
    names = short_names(table.keys)
    keys = [_swept(key, names[key]) for key in table.keys]
    return [*(keys or [VARIANT]), _score(table.metric), *_MEASURED]


def merged(table: Table) -> list[TableColumn]:
    """As `columns`, with all keys in the first, and nothing that can be spared."""
    kept = [column for column in _MEASURED if not column.spare]
    return [VARIANT, _score(table.metric), *kept]


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
    return interval(estimate, signed) if estimate.count else "no pair"


def bootstrap(row: Row) -> str:
    """The bootstrap's interval; nothing where there are too few pairs for it."""
    estimate = row.bootstrap
    if estimate is None or estimate.why:
        return NOTHING
    return f"[{signed(estimate.low)}, {signed(estimate.high)}]"


def interval(estimate: Estimate, show: Callable[[float], str] | None = None) -> str:
    """Mean and ends of its interval, or why there is none."""
    show = show or number
    if not estimate.count:
        return NOTHING
    if estimate.why:
        return f"{show(estimate.mean)} ({estimate.why})"
    return f"{show(estimate.mean)} [{show(estimate.low)}, {show(estimate.high)}]"


def not_finished(row: Row) -> str:
    """How many of its runs are in which other state; failures first."""
    order = ("failed", "broken off", "preempted", "running", "waiting")
    counts = [(row.states[word], word) for word in order]
    return ", ".join(f"{count} {word}" for count, word in counts if count)


def wall(cost: Cost) -> str:
    """Time from start to end; that at least, where an attempt has no end."""
    known = _time(cost.wall_seconds)
    partial = cost.partial and not math.isnan(cost.wall_seconds)
    return f"≥ {known}" if partial else known


def signed(value: float) -> str:
    """A number with its sign, a plus too."""
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


def _swept(key: str, name: str) -> TableColumn:
    return TableColumn(
        name,
        lambda row: typed_value(row.values[key]),
        lambda row: row.values[key],
        measured=False,
    )


def _score(metric: str) -> TableColumn:
    return TableColumn(
        metric,
        lambda row: score(row.score),
        lambda row: row.score.mean if row.score.count else None,
    )


def _cost(
    header: str,
    value: Callable[[Cost], Any],
    text: Callable[[Any], str],
    *,
    spare: int,
) -> TableColumn:
    return TableColumn(
        header,
        lambda row: text(value(row.cost)),
        lambda row: value(row.cost),
        spare=spare,
    )


VARIANT = TableColumn(
    "variant", lambda row: row.name, lambda row: row.name, measured=False
)
DIFFERENCE = TableColumn(
    "minus baseline", difference, lambda row: row.difference and row.difference.mean
)
BOOTSTRAP = TableColumn(
    "bootstrap (BCa)",
    bootstrap,
    lambda row: row.bootstrap and row.bootstrap.mean,
)
_MEASURED = (
    TableColumn(
        "n",
        lambda row: str(row.score.count),
        lambda row: row.score.count,
        spare=1,
    ),
    DIFFERENCE,
    TableColumn(
        "pairs",
        lambda row: str(len(row.pairs) or NOTHING),
        lambda row: len(row.pairs),
        spare=1,
    ),
    TableColumn(
        "runs", lambda row: f"{row.finished}/{row.planned}", lambda row: row.finished
    ),
    TableColumn("not finished", not_finished, lambda row: row.planned - row.finished),
    _cost("params", lambda cost: cost.params, _count, spare=4),
    _cost("MACs", lambda cost: cost.macs, _macs, spare=4),
    _cost("memory", lambda cost: cost.peak_memory, _bytes, spare=5),
    _cost("images/s", lambda cost: cost.images_per_second, _speed, spare=3),
    _cost("compile", lambda cost: cost.compile_seconds, _time, spare=5),
    TableColumn(
        "time",
        lambda row: wall(row.cost),
        lambda row: row.cost.wall_seconds,
        spare=2,
    ),
)
