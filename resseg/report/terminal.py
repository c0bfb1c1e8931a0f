"""The gradient log as tables for a terminal; plain text where there is none."""

import math
import sys
from collections.abc import Sequence
from typing import TextIO

import pandas as pd
from rich import box
from rich.console import Console
from rich.table import Table

from resseg.report.profile import (
    KINDS,
    ForkSummary,
    PathSummary,
    by_paths,
    column,
    geometric_mean,
    where,
)
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
        for name, _, unit, meaning in columns:
            table.add_row(name, unit, meaning)
        self._print(table)

    def table(self, frame: pd.DataFrame, title: str) -> None:
        """A data frame: names as they are, numbers to three digits."""
        names = [str(name) for name in frame.columns]
        texts = sum(not pd.api.types.is_numeric_dtype(frame[name]) for name in names)
        table = self._table(title, [n.replace("_", "\n") for n in names], text=texts)
        for row in frame.itertuples(index=False):
            table.add_row(*map(_cell, row))
        self._print(table)

    def forks(self, forks: Sequence[ForkSummary]) -> None:
        """One table per kind of fork, in depth order."""
        for kind, title in KINDS.items():
            chosen = [fork for fork in forks if fork.kind == kind]
            for paths, group in by_paths(chosen).items():
                if len(paths) <= 2:
                    self._wide(group, paths, title)
                else:
                    self._long(group, title)

    def blocks(self, blocks: pd.DataFrame) -> None:
        """Parameters against their updates, per block."""
        headers = ["block", "weights", "gradient", "update", "update / weights"]
        table = self._table("Parameters, l2 norms", headers, text=1)
        names = column(blocks, "block")
        for name in dict.fromkeys(names):
            rows = where(blocks, names == name)
            norms = ("params_l2", "grad_l2", "update_l2", "update_ratio")
            means = (geometric_mean(column(rows, norm)) for norm in norms)
            table.add_row(name, *map(_number, means))
        self._print(table)

    def _wide(
        self, forks: Sequence[ForkSummary], paths: tuple[str, ...], title: str
    ) -> None:
        headers = ["fork", *paths, f"share of\n{paths[0]}", "cosine", "non-\nfinite"]
        table = self._table(f"{title}, site norm", headers, text=1)
        for fork in forks:
            table.add_row(
                fork.name,
                *map(_site, fork.paths),
                self._bar(fork.paths[0].share),
                "-" if math.isnan(fork.cosine) else f"{fork.cosine:+.2f}",
                _count(sum(path.nonfinite for path in fork.paths)),
            )
        self._print(table)
        self._notes(forks)

    def _long(self, forks: Sequence[ForkSummary], title: str) -> None:
        headers = ["fork", "path", "site", "share", "non-\nfinite"]
        table = self._table(f"{title}, site norm", headers, text=2)
        for fork in forks:
            for position, path in enumerate(fork.paths):
                table.add_row(
                    fork.name if position == 0 else "",
                    path.path,
                    _site(path),
                    self._bar(path.share),
                    _count(path.nonfinite),
                )
        self._print(table)
        self._notes(forks)

    def _notes(self, forks: Sequence[ForkSummary]) -> None:
        notes = []
        for fork in forks:
            words = ", ".join(filter(None, (path.trouble for path in fork.paths)))
            if words:
                notes.append(f"{fork.name}: {words}")
        if len(notes) > _NOTES:
            notes[_NOTES:] = [f"and {len(notes) - _NOTES} more forks"]
        for line in notes:
            self._console.print(line, style="red", markup=False)

    def _print(self, table: Table) -> None:
        self._console.print()
        self._console.print(table)

    def _bar(self, share: float) -> str:
        """A bar and a percentage; a share that is not defined has neither."""
        if math.isnan(share):
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


def _cell(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _number(value: float) -> str:
    return "nan" if math.isnan(value) else f"{value:.3g}"


def _site(path: PathSummary) -> str:
    if path.dead:
        return "[red]dead[/]"
    number = _number(path.site)
    return f"[red]{number}[/]" if path.nonfinite_steps else number


def _count(value: int) -> str:
    return f"[red]{value:,}[/]" if value else "0"
