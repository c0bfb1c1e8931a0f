"""A table as text: for a terminal, Markdown, CSV and LaTeX."""

import csv
import io
import json
import math
import re
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table as Grid

from resseg.console import (
    add_row,
    clean,
    fits,
    folded,
    new_table,
    open_console,
    right,
    say,
    show,
)
from resseg.sweeps.scores import METRICS
from resseg.sweeps.table.cells import TableColumn, columns, merged
from resseg.sweeps.table.rows import Row
from resseg.sweeps.table.statistics import Estimate
from resseg.sweeps.table.table import Table
from resseg.sweeps.table.words import below, indent, title

_SPARE = 5  # the largest `TableColumn.spare`
_STATES = ("finished", "failed", "broken off", "preempted", "running", "waiting")
_MARKDOWN = re.compile(r"([\\`*_\[\]<>|~$#])")
_LATEX = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "±": r"$\pm$",
    "≥": r"$\ge$",
    **{character: f"\\{character}" for character in "&%$#_"},
}
_NUMBERS = re.compile(r"[-+]?\d[\d.,]*|\[[-+\d][-+\d., ]*\]")


def print_terminal(table: Table, out: Console) -> None:
    """Writes the table with all that is said about it.

    A terminal that is too narrow for every column shows fewer costs, then no counts
    of seeds, then all keys in one column.
    """
    say(title(table), out=out)
    show(_fitting(table, out), out)
    for line in below(table):
        say(line, out=out)


def as_terminal(table: Table) -> str:
    """As `print_terminal` writes where there is no terminal."""
    file = io.StringIO()
    print_terminal(table, open_console(file))
    return file.getvalue()


def _fitting(table: Table, out: Console) -> Grid:
    for least in range(_SPARE + 1, 0, -1):
        kept = [column for column in columns(table) if column.spare < least]
        grid = _grid(table, kept, out)
        if fits(grid, out):
            return grid
    return _grid(table, merged(table), out)


def _grid(table: Table, kept: list[TableColumn], out: Console) -> Grid:
    heads = [
        right(clean(column.header)) if column.measured else folded(clean(column.header))
        for column in kept
    ]
    grid = new_table(out, *heads)
    for row, following in zip(table.rows, [*table.rows[1:], None], strict=True):
        ends = following is not None and _group(table, row) != _group(table, following)
        cells = (clean(column.cell(row)) for column in kept)
        add_row(grid, *cells, ends_group=ends)
    return grid


def _group(table: Table, row: Row) -> Any:
    return row.values[table.by[0]] if table.by else None


def as_markdown(table: Table) -> str:
    """A table of GitHub's Markdown, and a list below it."""
    kept = columns(table)
    headers = [markdown(column.header) for column in kept]
    rules = ["---:" if column.measured else "---" for column in kept]
    body = [
        [
            column.cell(row) if column.measured else markdown(column.cell(row))
            for column in kept
        ]
        for row in table.rows
    ]
    lines = [f"| {' | '.join(cells)} |" for cells in (headers, rules, *body)]
    said = [f"{indent(line)}- {markdown(line)}" for line in below(table)]
    return "\n".join([markdown(title(table)), "", *lines, "", *said, ""])


def markdown(text: str) -> str:
    """Text that Markdown shows as it is, in a cell too."""
    return _MARKDOWN.sub(r"\\\1", clean(text).replace("&", "&amp;"))


def as_latex(table: Table) -> str:
    r"""A `tabular` that needs the package booktabs; what is said stands in comments."""
    kept = columns(table)
    layout = "".join("r" if column.measured else "l" for column in kept)
    lines = [f"% {line}" for line in (title(table), *below(table))]
    lines += [rf"\begin{{tabular}}{{{layout}}}", r"\toprule"]
    lines.append(_latex_row([latex(column.header) for column in kept]))
    before = None
    for row in table.rows:
        group = _group(table, row)
        lines += [r"\midrule"] if before is None or before != [group] else []
        before = [group]
        cells = (
            _latex_numbers(column.cell(row))
            if column.measured
            else latex(column.cell(row))
            for column in kept
        )
        lines.append(_latex_row(list(cells)))
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


def latex(text: str) -> str:
    """Text that LaTeX sets as it is."""
    return _escaped(clean(text))


def _latex_numbers(text: str) -> str:
    """Our own cells: their numbers in mathematics, so that a minus is one."""
    pieces, end = [], 0
    for match in _NUMBERS.finditer(text):
        inner = re.sub(r",(?=\d)", "{,}", match.group())
        pieces += [_escaped(text[end : match.start()]), f"${inner}$"]
        end = match.end()
    return "".join([*pieces, _escaped(text[end:])])


def _escaped(text: str) -> str:
    return "".join(_LATEX.get(character, character) for character in text)


def _latex_row(cells: list[str]) -> str:
    return " & ".join(cells) + r" \\"


def as_csv(table: Table) -> str:
    """One line per variant, numbers in full; an empty field is one that is not known.

    Nothing else is in it: `below` says what is not finished, and what claims became of.
    """
    file = io.StringIO()
    records = [record(row) for row in table.rows]
    writer = csv.DictWriter(file, list(records[0]), lineterminator="\n")
    writer.writeheader()
    for one in records:
        writer.writerow({name: _field(value) for name, value in one.items()})
    return file.getvalue()


def runs_as_csv(table: Table) -> str:
    """One line per run, numbers in full: its state, swept keys and metrics.

    An empty field is a metric of a run that is not finished, "nan" one that is no
    number. No times: the same runs give the same file.
    """
    file = io.StringIO()
    measured = [name for name in METRICS if name in table.runs]
    names = ["id", "state", *table.sweep.swept, *measured]
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(names)
    for run in table.runs.to_dict("records"):
        done = run["state"] == "finished"
        fields = [
            "nan"
            if name in measured and done and math.isnan(run[name])
            else _field(run[name])
            for name in names
        ]
        writer.writerow(fields)
    return file.getvalue()


def record(row: Row) -> dict[str, Any]:
    """A row in plain values, by full key and with units in the names."""
    own = row.difference is None
    compared = row.difference or Estimate(math.nan)
    bootstrap = row.bootstrap or Estimate(math.nan)
    cost = row.cost
    return {
        "variant": row.name,
        **row.values,
        **_estimate("mean", row.score),
        **_estimate("difference", compared),
        "difference_bootstrap_low": bootstrap.low,
        "difference_bootstrap_high": bootstrap.high,
        "is_baseline": own,
        **{word.replace(" ", "_"): row.states[word] for word in _STATES},
        "planned": row.planned,
        "params": cost.params,
        "macs": cost.macs,
        "image": None if cost.image is None else "x".join(map(str, cost.image)),
        "peak_memory_bytes": cost.peak_memory,
        "images_per_second": cost.images_per_second,
        "programs": cost.programs,
        "train_steps": cost.train_steps,
        "compile_seconds": cost.compile_seconds,
        "wall_seconds": cost.wall_seconds,
        "wall_seconds_partial": cost.partial,
    }


def _estimate(name: str, estimate: Estimate) -> Mapping[str, Any]:
    undefined = estimate.count and math.isnan(estimate.mean)
    return {
        name: "nan" if undefined else estimate.mean,
        f"{name}_low": estimate.low,
        f"{name}_high": estimate.high,
        f"{name}_count": estimate.count,
        f"{name}_no_interval": estimate.why,
    }


def _field(value: Any) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, bool | list | tuple):
        return json.dumps(value)
    return repr(value) if isinstance(value, float) else str(value)
