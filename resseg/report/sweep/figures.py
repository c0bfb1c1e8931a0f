"""Curves, dose-response and cost of a sweep: figures, and the data they draw."""

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from resseg.report.page import formatting
from resseg.report.page.document import Plot
from resseg.report.sweep.bands import Band
from resseg.report.sweep.naming import short
from resseg.report.sweep.read import SweepReport, SweepVariant
from resseg.sweeps.keys import pairs, short_names
from resseg.sweeps.scores import METRICS
from resseg.sweeps.table.rows import identity

_LOOKS = 7  # curves that can be report apart
_ALIKE = 1.05  # costs that differ by less are shown last
_WIDE = 30  # largest over smallest value of a key: then its axis is logarithmic


class Chart(NamedTuple):
    """A figure.

    Attributes:
        plot: its frame.
        how: what the script must know.
        table: its data, by `plot.csv`.
    """

    plot: Plot
    how: dict[str, Any]
    table: dict[str, Any]


def curves(report: SweepReport) -> list[Chart]:
    """Loss and score over the steps: means and ranges over the seeds."""
    charts = []
    wanted = (
        (
            "score",
            f"Validation {report.curve}",
            report.curve,
            "of the whole split",
            [variant.score for variant in report.variants],
        ),
        (
            "loss",
            "Training loss",
            "loss",
            "of the batch of a step, nothing smoothed",
            [variant.loss for variant in report.variants],
        ),
    )
    for name, title, unit, what, bands in wanted:
        rows = []
        for at, band in enumerate(bands):
            if band is not None:
                columns = zip(*band, strict=True)
                rows += [[at, *point] for point in columns]
        if len({row[1] for row in rows}) < 2:
            continue  # scored once, at the end: the table says it all
        counts = sorted({row[2] for row in rows})
        seeds = _between(counts)
        plot = Plot(
            f"curve-{name}",
            title,
            f"{title} {what}: line = mean over the seeds, band = lowest to highest "
            f"seed ({seeds} at a step; not an interval). A line breaks where the "
            "number of seeds changes and where one is not finite.",
            _curve_words(report, bands, title),
            f"curve-{name}",
            360,
        )
        head = ["variant", "step", "seeds", "mean", "lowest", "highest"]
        how = {"id": plot.id, "table": plot.csv, "unit": unit}
        charts.append(Chart(plot, how, {"columns": head, "rows": rows}))
    return charts


def _curve_words(report: SweepReport, bands: Sequence[Band | None], title: str) -> str:
    texts = []
    for variant, band in list(zip(report.variants, bands, strict=True))[:_LOOKS]:
        if band is not None:
            end = formatting.number(band.mean[-1])
            texts.append(f"{variant.short}: {end} at step {band.places[-1]}")
    return f"{title}. {'; '.join(texts)}."


def _between(counts: list[int]) -> str:
    low, high = counts[0], counts[-1]
    text = str(low) if low == high else f"{low} to {high}"
    return f"{text} seed{'' if high == 1 else 's'}"


def numeric_keys(report: SweepReport) -> list[str]:
    """Swept keys that have two numbers or more where all other keys are equal."""
    numeric = []
    for key in report.table.keys:
        others = Counter(
            _others(report, variant, key)
            for variant in report.variants
            if _number(variant.row.values[key])
        )
        if others and max(others.values()) > 1:
            numeric.append(key)
    return numeric


def _number(value: Any) -> bool:
    known = isinstance(value, int | float) and not isinstance(value, bool)
    return known and math.isfinite(value)


def _others(report: SweepReport, variant: SweepVariant, key: str) -> str:
    rest = [other for other in report.table.keys if other != key]
    return identity(variant.row.values, rest)


def doses(report: SweepReport) -> list[Chart]:
    """The metric over each numeric key, a line per combination of the other keys."""
    return [_dose(report, key, at) for at, key in enumerate(numeric_keys(report))]


def _dose(report: SweepReport, key: str, at: int) -> Chart:
    groups: dict[str, list[SweepVariant]] = {}
    left_out = 0
    for variant in report.variants:
        if _number(variant.row.values[key]):
            groups.setdefault(_others(report, variant, key), []).append(variant)
        else:
            left_out += 1
    single = sum(len(group) == 1 for group in groups.values())
    many = [group for group in groups.values() if len(group) > 1]
    names = short_names(report.table.keys)
    rows, lines = [], []
    others = [key_ for key_ in report.table.keys if key_ != key]
    rest = [{k: group[0].row.values[k] for k in others} for group in many]
    labels = short(rest, [pairs(each, names) for each in rest])
    for number, group in enumerate(many):
        group.sort(key=lambda variant: variant.row.values[key])
        lines.append(
            {
                "name": labels[number] or report.table.metric,
                "x": [variant.row.values[key] for variant in group],
                "mean": [variant.row.score.mean for variant in group],
            }
        )
        for variant in group:
            x = variant.row.values[key]
            for run, value in variant.row.scores.items():
                rows.append([number, x, variant.seeds[run], run, value])
    values = [x for line in lines for x in line["x"]]
    spread = min(values) > 0 and max(values) / min(values) > _WIDE
    counts = sorted({len(v.row.scores) for group in many for v in group})
    words = [
        f"Every mark is one seed ({_between(counts)} per value), lines join means"
        + (", one for each combination of the other swept keys." if many[1:] else ".")
    ]
    if len(many) > _LOOKS:
        words.append(f"Lines beyond the first {_LOOKS} are grey; point at them.")
    if left_out:
        words.append(f"{_variants(left_out)} whose value is no number left out.")
    if single:
        words.append(
            f"{_variants(single)} left out: none differs from them in this key alone."
        )
    plot = Plot(
        f"dose-{at}",
        f"{report.table.metric} over {key}",
        " ".join(words),
        _dose_words(lines),
        f"dose-{at}",
        360,
    )
    how = {
        "id": plot.id,
        "table": plot.csv,
        "key": key,
        "log": bool(spread),
        "lines": lines,
    }
    table = {"columns": ["line", key, "seed", "run", report.table.metric], "rows": rows}
    return Chart(plot, how, table)


def _variants(count: int) -> str:
    return f"{formatting.plural(count, 'variant')} {'is' if count == 1 else 'are'}"


def _dose_words(lines: list[dict[str, Any]]) -> str:
    texts = []
    for line in lines[:_LOOKS]:
        means = [
            f"{formatting.number(x)}: {formatting.number(mean)}"
            for x, mean in zip(line["x"], line["mean"], strict=True)
        ]
        texts.append(f"{line['name']}: {', '.join(means)}")
    return f"Means by value. {'; '.join(texts)}."


COSTS = {
    "params": "learned parameters",
    "macs": "multiply-accumulates of one image",
    "seconds": "seconds per run",
}


def cost(report: SweepReport) -> Chart | None:
    """The metric over what it costs; None where no cost is recorded."""
    frame = report.table.runs.set_index("id")
    rows = []
    for at, variant in enumerate(report.variants):
        row = variant.row
        seconds = [float(frame.loc[name, "wall_seconds"]) for name in row.scores]
        known = [value for value in seconds if math.isfinite(value)]
        score = row.score
        rows.append(
            [
                at,
                row.cost.params,
                row.cost.macs,
                float(np.mean(known)) if known else math.nan,
                score.mean,
                score.low,
                score.high,
                score.count,
            ]
        )
    rows = [row for row in rows if row[-1]]
    choices = []
    for place, name in enumerate(COSTS, 1):
        values = {row[place] for row in rows}
        values = {v for v in values if v is not None and math.isfinite(v)}
        if values:
            alike = max(values) <= _ALIKE * min(values)
            choices.append((alike, name))
    if not choices:
        return None
    better = "lower" if METRICS[report.table.metric].lower else "higher"
    counts = sorted({row[-1] for row in rows})
    plot = Plot(
        "cost",
        f"{report.table.metric} against cost",
        f"One mark per variant: mean over its finished runs ({_between(counts)}), "
        f"bar = Student's t 95 % interval; {better} and further left is better. "
        "Seconds are wall time of a run, all attempts, compilation included; runs "
        "that were trained together share theirs, and machines may have been busy.",
        f"Cost and {report.table.metric} of {len(rows)} variants; the table has both.",
        "cost",
        380,
    )
    head = ["variant", *COSTS, "mean", "low", "high", "seeds"]
    order = [name for _, name in sorted(choices, key=lambda each: each[0])]
    how = {"choices": [[name, COSTS[name]] for name in order]}
    return Chart(plot, how, {"columns": head, "rows": rows})
