"""The gradient log as tables for a terminal; plain text where there is none."""

import math
import sys
from collections.abc import Mapping, Sequence
from typing import TextIO

import numpy as np
import pandas as pd
from rich import box
from rich.console import Console
from rich.table import Table

from resseg.gradient_log.sparkline import norm_line, share_line
from resseg.gradient_log.summary import (
    KINDS,
    ForkSummary,
    PathSummary,
    by_paths,
    column,
    geometric_mean,
    where,
)
from resseg.gradient_log.timeline import Timeline
from resseg.runs.tables import Column

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

    def forks(
        self, forks: Sequence[ForkSummary], lines: Mapping[str, Timeline]
    ) -> None:
        """One table per kind of fork, in depth order.

        Args:
            forks: means.
            lines: by fork name, what the sparklines show.
        """
        for kind, title in KINDS.items():
            chosen = [fork for fork in forks if fork.kind == kind]
            for paths, group in by_paths(chosen).items():
                if len(paths) <= 2:
                    self._wide(group, paths, title, lines)
                else:
                    self._long(group, title, lines)

    def stages(self, shares: Mapping[str, np.ndarray]) -> None:
        """The share of the shortcut by stage: at the first and last step, between."""
        headers = ["stage", "first", "over the steps", "last"]
        table = self._table("Share of the shortcut, mean of the blocks", headers, 1)
        for stage, share in shares.items():
            row = (_percent(share[0]), self._share(share), _percent(share[-1]))
            table.add_row(stage, *row)
        self._print(table)

    def comparison(
        self, table: pd.DataFrame, labels: Sequence[str], normalized: bool
    ) -> None:
        """Runs side by side: see `comparison.side_by_side`."""
        for number, label in enumerate(labels):
            self.say(f"  {number} = {label}")
        numbers = range(len(labels))
        unit = ", over that of the last block" if normalized else ""
        for kind, title in KINDS.items():
            rows = where(table, column(table, "kind") == kind)
            if rows.empty:
                continue
            headers = ["fork", "path", *(f"site\n{i}" for i in numbers)]
            headers += [f"log10\n{i}/0" for i in numbers if i]
            headers += [f"share\n{i}" for i in numbers]
            shown = self._table(f"{title}, site norm{unit}", headers, text=2)
            previous = None
            for row in rows.to_dict("records"):
                fork = "" if row["fork"] == previous else row["fork"]
                previous = row["fork"]
                sites = [_number(row[f"site {i}"]) for i in numbers]
                logs = [_signed(row[f"log10 {i}/0"]) for i in numbers if i]
                shares = [_percent(row[f"share {i}"]) for i in numbers]
                shown.add_row(fork, row["path"], *sites, *logs, *shares)
            self._print(shown)

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
        self,
        forks: Sequence[ForkSummary],
        paths: tuple[str, ...],
        title: str,
        lines: Mapping[str, Timeline],
    ) -> None:
        headers = ["fork", *paths, "both, over\nthe steps", f"share of\n{paths[0]}"]
        headers += ["over the\nsteps", "cosine", "non-\nfinite"]
        table = self._table(f"{title}, site norm", headers, text=1)
        for fork in forks:
            line = lines[fork.name]
            table.add_row(
                fork.name,
                *map(_site, fork.paths),
                norm_line(line.total, self._unicode),
                _percent(fork.paths[0].share),
                self._share(line.share[0]),
                "-" if math.isnan(fork.cosine) else f"{fork.cosine:+.2f}",
                _count(sum(path.nonfinite for path in fork.paths)),
            )
        self._print(table)
        self._notes(forks)

    def _long(
        self, forks: Sequence[ForkSummary], title: str, lines: Mapping[str, Timeline]
    ) -> None:
        headers = ["fork", "path", "site", "site, over\nthe steps", "share"]
        headers += ["over the\nsteps", "non-\nfinite"]
        table = self._table(f"{title}, site norm", headers, text=2)
        for fork in forks:
            line = lines[fork.name]
            for position, path in enumerate(fork.paths):
                table.add_row(
                    fork.name if position == 0 else "",
                    path.path,
                    _site(path),
                    norm_line(line.site[position], self._unicode),
                    _percent(path.share),
                    self._share(line.share[position]),
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
        """The title in a line of its own: a narrow table would break it."""
        title, table.title = table.title, None
        self._console.print()
        self._console.print(title, style="italic", markup=False, soft_wrap=True)
        self._console.print(table)

    def _share(self, share: np.ndarray) -> str:
        return share_line(share, self._unicode)

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


def _percent(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.0%}"


def _signed(value: float) -> str:
    return f"{value:+.2f}" if math.isfinite(value) else "-"


def _number(value: float) -> str:
    return "nan" if math.isnan(value) else f"{value:.3g}"


def _site(path: PathSummary) -> str:
    if path.dead:
        return "[red]dead[/]"
    number = _number(path.site)
    return f"[red]{number}[/]" if path.nonfinite_steps else number


def _count(value: int) -> str:
    return f"[red]{value:,}[/]" if value else "0"
