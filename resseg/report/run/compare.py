"""A few runs in one page: numbers, curves, gradient over depth, what differs."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from resseg.errors import UserError
from resseg.gradient_log.comparison import changed_keys, labels, mismatch
from resseg.gradient_log.selection import Selected, Wanted, select
from resseg.gradient_log.summary import USED
from resseg.gradient_log.timeline import Timeline, timelines
from resseg.report.page import document, formatting
from resseg.report.page.document import Plot, Section, figure
from resseg.report.page.markup import Cell, Html, join, table, tag
from resseg.report.run import training
from resseg.report.run.facts import Facts, config_value, gather, rows_of
from resseg.report.run.findings import find
from resseg.report.run.flow import RECENT, make_flow, recent_share, recent_site
from resseg.runs.reader import Run

_MOST = 7  # runs: there are as many colours, dashes and marks


def render(paths: Sequence[str | Path]) -> str:
    """The HTML file.

    Raises:
        UserError: a folder is no run or has no gradient rows; there are too many.
    """
    if len(paths) > _MOST:
        raise UserError(
            f"--compare: expected {_MOST} runs at most, got {len(paths)}; more of them "
            "are a study"
        )
    columns = list(USED)
    chosen = [select(path, Wanted(last=RECENT), columns) for path in paths]
    names = labels(chosen)
    facts = [gather(each.run) for each in chosen]
    differing = mismatch(chosen)
    reason = "" if differing is None else differing.difference
    curves, tables = _curves([each.run for each in chosen], names)
    profile, shares = _profiles(chosen, names, divided=bool(reason))
    tables |= {"profile": profile, "shares": shares}
    sections = [
        Section("numbers", "Numbers", _numbers(names, facts)),
        Section("differences", "What differs", _differences(chosen, names)),
        Section("training", "Training", _training(curves)),
        Section("depth", "Gradient over depth", _depth(reason, len(chosen))),
        Section("findings", "What stands out", _findings(chosen, names, facts)),
    ]
    header = join(
        [
            tag("h1", f"{len(chosen)} runs compared"),
            tag("p", "; ".join(names), cls="soft"),
            tag(
                "p",
                "One run each: a difference between two may be that between two seeds.",
                cls="note",
            ),
        ]
    )
    data = {
        "title": "runs compared",
        "tables": tables,
        "compared": [
            *[{"id": plot.id, **how} for plot, how in curves],
            {
                "id": "compare-profile",
                "table": "profile",
                "x": "block",
                "names": names,
                "unit": "over that of the last block" if reason else "site norm",
                "log": True,
            },
            {
                "id": "compare-shares",
                "table": "shares",
                "x": "block",
                "names": names,
                "unit": "share of the first path",
            },
        ],
    }
    scripts = ("compare.js", "start.js")
    title = "runs compared – resseg report"
    return document.render(title, header, sections, data, scripts)


def _numbers(names: Sequence[str], facts: Sequence[Facts]) -> Html:
    rows = []
    for name, one in zip(names, facts, strict=True):
        best = formatting.NOTHING
        if one.best is not None:
            best = f"{formatting.score(one.best[1])} at {one.best[0]:,}"
        rows.append(
            [
                Cell(name),
                Cell(one.model),
                Cell(formatting.score(one.mean_iou), _sortable(one.mean_iou)),
                Cell(best, one.best[1] if one.best else -1.0),
                Cell(f"{one.step:,} ({one.state})", one.step),
                Cell(formatting.duration(one.seconds), _sortable(one.seconds)),
                Cell(formatting.large(one.params), one.params or -1),
                Cell(formatting.large(one.macs), one.macs or -1),
                Cell(str(one.seed), one.seed),
            ]
        )
    head = ["run", "model", "mean IoU", "best", "step", "time", "parameters", "MACs"]
    return table(
        "Scores of the last evaluation; time: training steps alone",
        [*head, "seed"],
        rows,
        text_columns=2,
        id_="runs-table",
    )


def _sortable(value: float | None) -> float:
    return -1.0 if value is None else value


def _differences(chosen: Sequence[Selected], names: Sequence[str]) -> Html:
    rows = [
        [
            Cell(tag("code", key), key),
            *[Cell(tag("code", config_value(v))) for v in values],
        ]
        for key, values in changed_keys(chosen).items()
    ]
    if not rows:
        return tag("p", "The configs are the same.")
    caption = f"{formatting.plural(len(rows), 'config key')} with different values"
    return table(caption, ["key", *names], rows, text_columns=1 + len(names))


def _curves(
    runs: Sequence[Run], names: Sequence[str]
) -> tuple[list[tuple[Plot, dict[str, Any]]], dict[str, Any]]:
    """Loss and mean IoU of every run, and their tables in long form."""
    wanted = (
        ("train", "loss", "Training loss", "loss of the batch of a step"),
        ("val", "mean_iou", "Validation mean IoU", "over the whole split"),
    )
    curves, tables = [], {}
    for split, column, title, what in wanted:
        rows = []
        for run, name in zip(runs, names, strict=True):
            frame = rows_of(run, split)
            if frame.empty or column not in frame:
                continue
            kept = training.thin(frame)
            steps = np.asarray(kept["step"]).tolist()
            values = np.asarray(kept[column], float).tolist()
            rows += [[name, *pair] for pair in zip(steps, values, strict=True)]
        if not rows:
            continue
        tables[column] = {"columns": ["run", "step", column], "rows": rows}
        plot = Plot(
            f"compare-{column}",
            title,
            f"{what.capitalize()}; one line per run, one seed each, nothing smoothed.",
            f"{title} of {len(names)} runs; the table above has the last scores.",
            column,
        )
        unit = "mean IoU" if column == "mean_iou" else column
        how = {"table": column, "x": "step", "names": list(names), "unit": unit}
        curves.append((plot, how))
    return curves, tables


def _profiles(
    chosen: Sequence[Selected], names: Sequence[str], *, divided: bool
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Norm and share of every block of every run, in long form."""
    profile, shares = [], []
    for each, name in zip(chosen, names, strict=True):
        blocks = _blocks(each)
        unit = recent_site(blocks[-1].total) if divided and blocks else 1.0
        for line in blocks:
            place = line.name.removeprefix("backbone/")
            norm = recent_site(line.total) / unit if unit > 0 else float("nan")
            profile.append([name, place, norm])
            shares.append([name, place, recent_share(line)])
    return (
        {"columns": ["run", "block", "site"], "rows": profile},
        {"columns": ["run", "block", "share"], "rows": shares},
    )


def _blocks(each: Selected) -> list[Timeline]:
    return [line for line in timelines(each.recent) if line.kind == "block"]


def _training(curves: Sequence[tuple[Plot, dict[str, Any]]]) -> Html:
    return tag("div", *[figure(plot) for plot, _ in curves], cls="pair")


def _depth(reason: str, count: int) -> Html:
    what = "Site norm of the whole gradient of each block"
    note = None
    if reason:
        what += ", over that of the run's last block"
        note = tag(
            "p",
            f"Norms of these runs do not mean the same ({reason}), so each is divided "
            "by that of its own last block.",
            cls="note warning",
        )
    means = f"over the last {RECENT} logged steps; {count} runs of one seed each"
    plots = [
        Plot(
            "compare-profile",
            "Norm over depth",
            f"{what}: geometric mean {means}. A block that receives exactly 0 is left "
            "out.",
            "Gradient norm over depth, one line per run; download the numbers as CSV.",
            "profile",
            360,
        ),
        Plot(
            "compare-shares",
            "Share of the first path over depth",
            f"Mean {means}.",
            "Share of the shortcut over depth, one line per run.",
            "shares",
            360,
        ),
    ]
    return join([note, tag("div", *map(figure, plots), cls="pair")])


def _findings(
    chosen: Sequence[Selected], names: Sequence[str], facts: Sequence[Facts]
) -> Html:
    parts = []
    for each, name, one in zip(chosen, names, facts, strict=True):
        findings = find(one, make_flow(each.rows))
        items = [tag("li", each.text, cls=each.severity) for each in findings]
        parts.append(tag("h3", name))
        parts.append(
            tag("ul", *items, cls="findings-list")
            if items
            else tag("p", "Nothing stands out.", cls="soft")
        )
    return join(parts)
