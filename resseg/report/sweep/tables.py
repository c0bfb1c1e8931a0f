"""Variants, runs and swept keys of a sweep as tables of its page."""

import math
from typing import Any

from resseg.report.page import formatting
from resseg.report.page.document import csv_button, filter_field
from resseg.report.page.markup import Cell, Html, join, table, tag
from resseg.report.sweep.read import PAGE, SweepReport, SweepVariant
from resseg.sweeps.keys import SEED, typed_value
from resseg.sweeps.table.cells import (
    BOOTSTRAP,
    DIFFERENCE,
    TableColumn,
    columns,
    number,
)
from resseg.sweeps.table.formats import record
from resseg.sweeps.table.rows import Row

NO_VALUE = -math.inf  # sorts what is not known below all numbers


def variant_section(report: SweepReport) -> Html:
    """The table of `resseg table`; with the bootstrap where a row has 20 pairs."""
    kept = columns(report.table)
    keys = sum(not column.measured for column in kept)
    boots = any(v.row.bootstrap and not v.row.bootstrap.why for v in report.variants)
    if boots:
        kept.insert(kept.index(DIFFERENCE) + 1, BOOTSTRAP)
    head = ["curves", *[column.header for column in kept]]
    rows = [
        [_chooser(place, variant), *[_cell(column, variant.row) for column in kept]]
        for place, variant in enumerate(report.variants)
    ]
    listed = table(
        f"{report.table.metric}: mean ± half of Student's 95 % interval over n seeds. "
        "Differences are to the baseline run of the same seed, with Student's paired "
        "95 % interval.",
        head,
        rows,
        text_columns=1 + keys,
        attributes=[
            {"data_variant": at, "cls": "own" if v.row.difference is None else None}
            for at, v in enumerate(report.variants)
        ],
        id_="variant-table",
    )
    notes = tag("ul", *[tag("li", note) for note in report.table.notes])
    return join([_filter("variant-table", "variants", "variants"), listed, notes])


def _cell(column: TableColumn, row: Row) -> Cell:
    text, value = column.cell(row), column.value(row)
    if column.measured:
        known = value is not None and not math.isnan(value)
        return Cell(text, value if known else NO_VALUE)
    number_ = isinstance(value, int | float) and not isinstance(value, bool)
    return Cell(
        formatting.shorten(text, 60),
        value if number_ else text,
        title=text if len(text) > 60 else None,
    )


def _chooser(place: int, variant: SweepVariant) -> Cell:
    button = tag(
        "button",
        f"{place + 1}",
        type="button",
        cls="show",
        data_show=place,
        aria_pressed="false",
        aria_label=f"{place + 1}: show {variant.short} in the curves",
    )
    return Cell(button, place)


def _filter(id_: str, csv: str, what: str) -> Html:
    return tag(
        "p",
        filter_field(f"{id_}-filter", id_, f"Filter {what} "),
        csv_button(csv, what),
        cls="controls",
    )


def run_section(report: SweepReport) -> Html:
    """Every run, whatever became of it."""
    places = {run: at for at, v in enumerate(report.variants) for run in v.seeds}
    rows, attributes = [], []
    for each in report.table.runs.to_dict("records"):
        name, value = str(each["id"]), float(each[report.table.metric])
        place = places[name]
        variant = report.variants[place]
        seed = variant.seeds[name]
        link: Any = tag("code", name)
        if name in report.pages:
            link = tag("a", link, href=f"{name}/{PAGE}")
        message = str(each["message"])
        rows.append(
            [
                Cell(link, name),
                Cell(f"{place + 1} · {variant.short}", place, title=str(each["name"])),
                Cell(each["state"]),
                Cell(formatting.shorten(message, 160), title=message or None),
                Cell(str(seed), seed),
                Cell(f"{each['step']:,} of {each['steps']:,}", each["step"]),
                Cell(
                    formatting.NOTHING if math.isnan(value) else number(value),
                    NO_VALUE if math.isnan(value) else value,
                ),
                Cell(_wall(each), _sorted(each)),
            ]
        )
        bad = each["state"] in ("failed", "broken off")
        attributes.append({"cls": "bad" if bad else None})
    head = ["run", "variant", "state", "message", "seed", "step"]
    listed = table(
        f"{formatting.plural(len(rows), 'run')}; a run that is a link has a page",
        [*head, report.table.metric, "time"],
        rows,
        text_columns=4,
        attributes=attributes,
        id_="run-table",
    )
    return join([_filter("run-table", "runs", "runs"), listed])


def _wall(run: dict[str, Any]) -> str:
    seconds = run["wall_seconds"]
    return formatting.NOTHING if math.isnan(seconds) else formatting.duration(seconds)


def _sorted(run: dict[str, Any]) -> float:
    seconds = run["wall_seconds"]
    return NO_VALUE if math.isnan(seconds) else seconds


def unfinished(report: SweepReport) -> Html:
    """The runs that are missing from all numbers, each with the reason."""
    items = [tag("li", sentence) for sentence in report.table.unfinished]
    if not items:
        return tag("p", "All runs of the study are finished.")
    return tag("ul", *items, cls="unfinished")


def swept_keys(report: SweepReport) -> list[tuple[str, list[tuple[Any, int]], str]]:
    """Each swept key, its values with the number of runs, that of the baseline."""
    listed = []
    frame = report.table.runs
    for key in report.plan.swept:
        base = report.table.baseline
        if key == SEED:
            values = [seed for v in report.variants for seed in v.seeds.values()]
        else:
            values = [
                v.row.values.get(
                    key, report.table.baseline.get(key, frame[key].iloc[0])
                )
                for v in report.variants
                for _ in v.seeds
            ]
        texts = [typed_value(value) for value in values]
        counts = [(text, texts.count(text)) for text in dict.fromkeys(texts)]
        own = typed_value(base[key]) if key in base else ""
        listed.append((key, counts, own))
    return listed


def config_section(report: SweepReport) -> Html:
    """The config keys that runs set; all others are the same for all of them."""
    rows = []
    for key, counts, own in swept_keys(report):
        listed = ", ".join(f"{formatting.shorten(v, 80)} ({n})" for v, n in counts[:40])
        more = f", and {len(counts) - 40} more" if len(counts) > 40 else ""
        rows.append(
            [
                Cell(tag("code", key), key),
                Cell(f"{listed}{more}"),
                Cell(
                    own or ("each seed with its own" if key == SEED else "as the run")
                ),
            ]
        )
    return table(
        "Config keys that the study sets; in brackets how many runs have the value",
        ["key", "values", "baseline"],
        rows,
        text_columns=3,
        id_="key-table",
    )


def data(report: SweepReport) -> dict[str, Any]:
    """Variants and runs in full, for downloads."""
    records = [record(variant.row) for variant in report.variants]
    frame = report.table.runs
    return {
        "variants": _table(list(records[0]), [list(r.values()) for r in records]),
        "runs": _table(
            [str(name) for name in frame.columns],
            [[_plain(value) for value in row] for row in frame.itertuples(index=False)],
        ),
    }


def _table(names: list[str], rows: list[list[Any]]) -> dict[str, Any]:
    return {
        "columns": names,
        "rows": [[_plain(value) for value in row] for row in rows],
    }


def _plain(value: Any) -> Any:
    return typed_value(value) if isinstance(value, list | tuple | dict) else value
