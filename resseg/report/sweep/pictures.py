"""The figures of a sweep as PNG."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes

from resseg.figures import COLORS, label_of, new_figure, save, style
from resseg.report.sweep import differences, multiples
from resseg.report.sweep.figures import Chart
from resseg.report.sweep.multiples import Multiple
from resseg.report.sweep.read import SweepReport

_DPI = 130
_MOST = len(COLORS)
_ACROSS = 4  # small multiples in a row
_ROWS = 60  # of small multiples at most


def save_forest(report: SweepReport, path: Path) -> None:
    """Differences to the baseline: every seed, means, intervals."""
    forest = differences.forest(report)
    assert forest is not None  # a forest is saved where there is one
    _, how, table = forest
    rows = how["rows"]
    figure = new_figure(9, 1.4 + 0.3 * len(rows))
    axes = figure.subplots()
    place = {row["variant"]: at for at, row in enumerate(rows)}
    named = {"student": "Student's t 95 %", "bootstrap": "BCa bootstrap 95 %"}
    looks = {
        "student": {"color": COLORS[0], "linewidth": 3.5},
        "bootstrap": {"color": COLORS[1], "linewidth": 1.5, "linestyle": ":"},
    }
    for name, look in looks.items():
        label: str | None = named[name]
        for at, row in enumerate(rows):
            if row[name]:
                y = at + (0.28 if name == "bootstrap" else 0)
                axes.plot(row[name], [y, y], label=label, **look)
                label = None
    axes.plot(
        [dot[3] for dot in table["rows"]],
        [place[dot[0]] for dot in table["rows"]],
        "o",
        markerfacecolor="none",
        color="black",
        label="one seed",
    )
    means = [row["mean"] for row in rows]
    axes.plot(means, range(len(rows)), "D", color=COLORS[0], label="mean")
    axes.axvline(0, color="black", linewidth=1)
    axes.set_yticks(range(len(rows)), _names(report, [row["variant"] for row in rows]))
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlabel(f"{report.table.metric} minus baseline")
    axes.grid(axis="x", alpha=0.3)
    figure.legend(loc="outside upper center", ncols=4, fontsize="small", frameon=False)
    save(figure, path, dpi=_DPI)


def _names(report: SweepReport, places: Sequence[int]) -> list[str]:
    return [f"{at + 1} · {report.variants[at].short}" for at in places]


def save_curves(report: SweepReport, chart: Chart, path: Path) -> str:
    """Means and ranges over the seeds; says which variants are in colour."""
    figure = new_figure(9, 3.8)
    axes = figure.subplots()
    by: dict[int, list[list[float]]] = {}
    for row in chart.table["rows"]:
        by.setdefault(row[0], []).append(row[1:])
    own = [at for at in report.baselines if at in by]
    chosen = [*own[:1], *(at for at in by if at not in own[:1])][:_MOST]
    for at, rows in by.items():
        steps, _, mean, low, high = zip(*rows, strict=True)
        if at not in chosen:
            axes.plot(steps, mean, color="0.8", linewidth=0.8, zorder=0)
            continue
        number = chosen.index(at)
        axes.fill_between(steps, low, high, color=COLORS[number], alpha=0.15)
        label = _names(report, [at])[0]
        axes.plot(steps, mean, label=label, **style(number, marks=len(steps) < 40))
    _finish(axes, "step", chart.how["unit"])
    save(figure, path, dpi=_DPI)
    others = len(by) - len(chosen)
    if not others:
        return ""
    return f"In colour the baseline and the best {_MOST - len(own[:1])}; {others} grey."


def _finish(axes: Axes, x: str, y: str) -> None:
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.grid(alpha=0.3)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize="x-small", frameon=False)


def save_dose(report: SweepReport, chart: Chart, path: Path) -> None:
    """The metric over a numeric key, every seed a mark."""
    figure = new_figure(9, 3.8)
    axes = figure.subplots()
    lines = chart.how["lines"]
    for number, line in enumerate(lines):
        mine = [row for row in chart.table["rows"] if row[0] == number]
        known = number < _MOST
        look: dict[str, Any] = {"color": "0.8", "linewidth": 0.8}
        look = style(number) if known else look
        name = label_of(line["name"]) if known and len(lines) > 1 else None
        marks = {k: look[k] for k in ("color", "marker") if k in look}
        x, y = [row[1] for row in mine], [row[4] for row in mine]
        axes.plot(x, y, linestyle="", **{"marker": "o", **marks, "markersize": 4})
        bare: dict[str, Any] = look | {"marker": ""}
        axes.plot(line["x"], line["mean"], label=name, **bare)
    if chart.how["log"]:
        axes.set_xscale("log")
    _finish(axes, chart.how["key"], report.table.metric)
    save(figure, path, dpi=_DPI)


def save_multiples(report: SweepReport, what: Multiple, path: Path) -> None:
    """One little drawing per variant, the first 60."""
    chosen = multiples.with_band(report, what)[:_ROWS]
    across = min(_ACROSS, len(chosen))
    down = math.ceil(len(chosen) / across)
    figure = new_figure(2.6 * across + 0.4, 1.6 * down + 0.3)
    grid = figure.subplots(down, across, sharey=True, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    low, high = multiples.limits(report, what)
    for axes, (at, variant, band) in zip(grid.flat, chosen, strict=False):
        axes.set_axis_on()
        places = range(len(band.places))
        axes.fill_between(places, band.low, band.high, color=COLORS[0], alpha=0.25)
        compared = multiples.baseline_band(report, variant, what)
        if compared is not None:
            axes.plot(compared.mean, "--", color="black", linewidth=0.9)
        axes.plot(places, band.mean, ".-", color=COLORS[0], linewidth=1.2)
        axes.set_title(_names(report, [at])[0], fontsize=6, loc="left")
        axes.set_ylim(low - 0.02, high + 0.02)
        axes.tick_params(labelsize=6)
        ends = [band.places[0], band.places[-1]]
        axes.set_xticks([0, len(band.places) - 1], ends)
        axes.grid(alpha=0.3)
    figure.supylabel(what.unit, fontsize=8)
    save(figure, path, dpi=_DPI)


def save_cost(report: SweepReport, cost: Chart, path: Path) -> None:
    """The metric against the cost that varies most."""
    name, words = cost.how["choices"][0]
    columns = cost.table["columns"]
    figure = new_figure(9, 3.8)
    axes = figure.subplots()
    for row in cost.table["rows"]:
        each = dict(zip(columns, row, strict=True))
        if each[name] is None:
            continue
        bar = None
        if math.isfinite(each["high"]):
            bar = [[each["mean"] - each["low"]], [each["high"] - each["mean"]]]
        own = each["variant"] in report.baselines
        axes.errorbar(
            each[name],
            each["mean"],
            bar,
            color=COLORS[1] if own else COLORS[0],
            ecolor="0.6",
            marker="s" if own else "o",
            capsize=2,
        )
        axes.annotate(
            str(each["variant"] + 1),
            (each[name], each["mean"]),
            (5, 3),
            textcoords="offset points",
            fontsize=7,
        )
    _finish(axes, words, report.table.metric)
    save(figure, path, dpi=_DPI)
