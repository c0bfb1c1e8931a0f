"""The gradient log as tables for a terminal; plain text where there is none."""

import sys
from typing import TextIO

import pandas as pd
from rich import box
from rich.console import Console
from rich.table import Table

from resseg.report.profile import KINDS, geometric_mean, note
from resseg.runs.gradients_table import Column

_EIGHTHS = " ▏▎▍▌▋▊▉"
_BAR = 6  # characters; the whole table then fits 80 columns
_NOTES = 10  # lines under one table
_PLAIN_WIDTH = 132  # a pipe has no width of its own; wide enough for every column


class Printer:
    """Prints tables and sentences to `file`, standard output unless given."""

    def __init__(self, file: TextIO | None = None):
        file = file or sys.stdout
        console = Console(file=file, highlight=False)
        if not console.is_terminal:
            console = Console(
                file=file, highlight=False, width=_PLAIN_WIDTH, color_system=None
            )
        self._console = console
        self._unicode = console.encoding.lower().startswith("utf")

    def say(self, sentence: str) -> None:
        """One line, never wrapped: it may be a path that someone copies."""
        self._console.print(
            sentence, markup=False, soft_wrap=True, no_wrap=True, overflow="ignore"
        )

    def columns(self, columns: tuple[Column, ...], title: str) -> None:
        """The documentation of a table's columns."""
        table = self._table(title, ["column", "unit", "meaning"], text=3)
        for column in columns:
            table.add_row(column.name, column.unit, column.meaning)
        self._print(table)

    def forks(self, summary: pd.DataFrame) -> None:
        """One table per kind of fork, from `profile.summarise`."""
        for kind, title in KINDS.items():
            rows = summary[summary["kind"] == kind]
            # Forks whose paths have the same names can share columns.
            paths = rows.groupby("depth", sort=False)["path"].agg(tuple)
            for names in paths.unique():
                chosen = rows[rows["depth"].isin(paths.index[paths == names])]
                if len(names) <= 2:
                    self._wide(chosen, names, title)
                else:
                    self._long(chosen, title)

    def blocks(self, blocks: pd.DataFrame) -> None:
        """Parameters against their updates, per block."""
        headers = ["block", "weights", "gradient", "update", "update / weights"]
        table = self._table("Parameters, l2 norms", headers, text=1)
        for block, group in blocks.groupby("block", sort=False, observed=True):
            names = ["params_l2", "grad_l2", "update_l2", "update_ratio"]
            means = [geometric_mean(group[name].to_numpy()) for name in names]
            table.add_row(str(block), *map(_number, means))
        self._print(table)

    def _wide(self, rows: pd.DataFrame, paths: tuple[str, ...], title: str) -> None:
        headers = ["fork", *paths, f"share of\n{paths[0]}", "cosine", "non-\nfinite"]
        table = self._table(f"{title}, site norm", headers, text=1)
        for _, fork in rows.groupby("depth", sort=False):
            head = fork.iloc[0]
            table.add_row(
                head["fork"],
                *(_site(row) for _, row in fork.iterrows()),
                self._bar(head["share"]),
                "-" if head["cosine"] != head["cosine"] else f"{head['cosine']:+.2f}",
                _count(fork["nonfinite"].sum()),
            )
        self._print(table)
        self._notes(rows)

    def _long(self, rows: pd.DataFrame, title: str) -> None:
        headers = ["fork", "path", "site", "share", "non-\nfinite"]
        table = self._table(f"{title}, site norm", headers, text=2)
        for _, fork in rows.groupby("depth", sort=False):
            for position, (_, row) in enumerate(fork.iterrows()):
                table.add_row(
                    row["fork"] if position == 0 else "",
                    row["path"],
                    _site(row),
                    self._bar(row["share"]),
                    _count(row["nonfinite"]),
                )
        self._print(table)
        self._notes(rows)

    def _notes(self, rows: pd.DataFrame) -> None:
        notes = []
        for name, fork in rows.groupby("fork", sort=False):
            words = filter(None, (note(row) for _, row in fork.iterrows()))
            if joined := ", ".join(words):
                notes.append(f"{name}: {joined}")
        if len(notes) > _NOTES:
            notes[_NOTES:] = [f"and {len(notes) - _NOTES} more forks"]
        for line in notes:
            self._console.print(line, style="red", markup=False)

    def _print(self, table: Table) -> None:
        self._console.print()
        self._console.print(table)

    def _bar(self, share: float) -> str:
        """A bar and a percentage; a share that is not defined has neither."""
        if share != share:
            return "-"
        filled = min(max(share, 0.0), 1.0) * _BAR
        if self._unicode:
            whole, eighths = divmod(round(filled * 8), 8)
            bar = "█" * whole + (_EIGHTHS[eighths] if eighths else "")
        else:
            bar = "#" * round(filled)
        return f"{bar:<{_BAR}} {share:4.0%}"

    def _table(self, title: str, headers: list[str], text: int) -> Table:
        # Bars and alignment say it all; a pipe wants no rules to grep around.
        style = box.SIMPLE_HEAD if self._console.is_terminal else None
        table = Table(title=title, title_justify="left", box=style, pad_edge=False)
        for position, header in enumerate(headers):
            justify = "left" if position < text else "right"
            table.add_column(header, justify=justify, no_wrap=True)
        return table


def _number(value: float) -> str:
    return "nan" if value != value else f"{value:.3g}"


def _site(row: pd.Series) -> str:
    if row["dead_steps"] == row["steps"]:
        return "[red]dead[/]"
    mark = "[red]" if row["nonfinite_steps"] else ""
    return mark + _number(row["site"])


def _count(value: int) -> str:
    return f"[red]{value:,}[/]" if value else "0"
