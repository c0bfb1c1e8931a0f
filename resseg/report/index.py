"""The list of the runs and sweeps of a folder."""

import time
from collections import Counter
from pathlib import Path
from urllib.parse import quote

from resseg.errors import UserError
from resseg.report.page import document, formatting
from resseg.report.page.document import Section
from resseg.report.page.markup import Cell, join, table, tag
from resseg.sweeps import plan
from resseg.sweeps.listing import Listed, described, list_runs


def render(folder: Path, names: tuple[str, ...], live: str) -> str:
    """The page of a folder.

    Args:
        folder: of runs and sweeps.
        names: of those that it lists.
        live: see `document.render`.
    """
    rows = [_row(folder / name) for name in names]
    field = tag("input", type="search", id="filter", data_filter="index-table")
    listed = table(
        f"{formatting.plural(len(rows), 'run or sweep')} in this folder",
        ["name", "what", "state", "tells it apart", "step", "best mean IoU", "written"],
        rows,
        text_columns=4,
        id_="index-table",
    )
    controls = tag("p", tag("label", "Filter ", for_="filter"), field, cls="controls")
    title = folder.resolve().name
    return document.render(
        f"{title} – resseg report",
        tag("h1", title),
        [Section("runs", "Runs and sweeps", join([controls, listed]))],
        {"tables": {}},
        ("start.js",),
        live=live,
    )


def _row(folder: Path) -> list[Cell]:
    link = tag("a", folder.name, href=f"{quote(folder.name, safe='')}/report.html")
    first = Cell(link, folder.name)
    try:
        runs = list_runs(folder)
    except (UserError, KeyError) as error:
        return [first, Cell(""), Cell("damaged"), Cell(str(error)), *[Cell("")] * 3]
    ages = [run.age for run in runs if run.age is not None]
    written = _written(min(ages)) if ages else Cell(formatting.NOTHING, 0)
    if not (folder / plan.FILE).is_file():
        return [first, Cell("run"), *_run(runs[0]), written]
    counts = Counter(run.status for run in runs)
    states = ", ".join(f"{count} {word}" for word, count in counts.items())
    best = max((run.best for run in runs if run.best is not None), default=None)
    many = Cell(f"{len(runs)} runs", len(runs))
    return [first, Cell("sweep"), Cell(states), Cell(""), many, _score(best), written]


def _run(run: Listed) -> list[Cell]:
    step = formatting.NOTHING if run.step is None else f"{run.step:,}"
    of = "" if run.steps is None else f" of {run.steps:,}"
    text = described(run)
    what = Cell(formatting.shorten(text, 120), title=text)
    return [
        Cell(run.status),
        what,
        Cell(f"{step}{of}", run.step or 0),
        _score(run.best),
    ]


def _score(best: float | None) -> Cell:
    return Cell(formatting.score(best), -1.0 if best is None else best)


def _written(age: float) -> Cell:
    then = time.time() - age
    return Cell(time.strftime("%Y-%m-%d %H:%M", time.localtime(then)), then)
