"""The gradient log as tables for a terminal; plain text where there is none."""

import math
from collections.abc import Mapping, Sequence
from typing import TextIO

import numpy as np
import pandas as pd
from rich.text import Text

from resseg.console import (
    add_row,
    columns,
    folded,
    left,
    new_table,
    open_console,
    say,
    show,
)
from resseg.gradient_log.comparison import ComparedPath
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


class LogPrinter:
    """Prints what a log says to `file`, standard output unless given."""

    def __init__(self, file: TextIO | None = None):
        self._out = open_console(file)
        self._unicode = self._out.encoding.lower().startswith("utf")

    def say(self, sentence: str) -> None:
        """One line, never wrapped: it may be a path that someone copies."""
        say(sentence, out=self._out)

    def columns(self, columns: tuple[Column, ...], title: str) -> None:
        """The documentation of a table's columns."""
        heads = (left("column"), left("unit"), folded("meaning"))
        table = new_table(self._out, *heads)
        for name, _, unit, meaning in columns:
            add_row(table, name, unit, meaning)
        show(table, self._out, title)

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
        table = new_table(self._out, *columns(headers))
        for stage, share in shares.items():
            row = (_percent(share[0]), self._share(share), _percent(share[-1]))
            add_row(table, stage, *row)
        show(table, self._out, "Share of the shortcut, mean of the blocks")

    def comparison(
        self, compared: Sequence[ComparedPath], labels: Sequence[str], normalized: bool
    ) -> None:
        """Runs side by side."""
        for number, label in enumerate(labels):
            self.say(f"  {number} = {label}")
        unit = ", over that of the last block" if normalized else ""
        headers = ["fork", "path", *(f"site\n{i}" for i in range(len(labels)))]
        headers += [f"log10\n{i}/0" for i in range(1, len(labels))]
        headers += [f"share\n{i}" for i in range(len(labels))]
        for kind, title in KINDS.items():
            rows = [row for row in compared if row.kind == kind]
            if not rows:
                continue
            table = new_table(self._out, *columns(headers, 2))
            previous = None
            for row in rows:
                add_row(
                    table,
                    "" if row.fork == previous else row.fork,
                    row.path,
                    *map(_number, row.sites),
                    *map(_signed, row.log10_ratios),
                    *map(_percent, row.shares),
                )
                previous = row.fork
            show(table, self._out, f"{title}, site norm{unit}")

    def blocks(self, blocks: pd.DataFrame) -> None:
        """Parameters against their updates, per block."""
        headers = ["block", "weights", "gradient", "update", "update / weights"]
        table = new_table(self._out, *columns(headers))
        names = column(blocks, "block")
        for name in dict.fromkeys(names):
            rows = where(blocks, names == name)
            norms = ("params_l2", "grad_l2", "update_l2", "update_ratio")
            means = (geometric_mean(column(rows, norm)) for norm in norms)
            add_row(table, name, *map(_number, means))
        show(table, self._out, "Parameters, l2 norms")

    def _wide(
        self,
        forks: Sequence[ForkSummary],
        paths: tuple[str, ...],
        title: str,
        lines: Mapping[str, Timeline],
    ) -> None:
        headers = ["fork", *paths, "both, over\nthe steps", f"share of\n{paths[0]}"]
        headers += ["over the\nsteps", "cosine", "non-\nfinite"]
        table = new_table(self._out, *columns(headers))
        for fork in forks:
            line = lines[fork.name]
            add_row(
                table,
                fork.name,
                *map(_site, fork.paths),
                norm_line(line.total, self._unicode),
                _percent(fork.paths[0].share),
                self._share(line.share[0]),
                "-" if math.isnan(fork.cosine) else f"{fork.cosine:+.2f}",
                _count(sum(path.nonfinite for path in fork.paths)),
            )
        show(table, self._out, f"{title}, site norm")
        self._notes(forks)

    def _long(
        self, forks: Sequence[ForkSummary], title: str, lines: Mapping[str, Timeline]
    ) -> None:
        headers = ["fork", "path", "site", "site, over\nthe steps", "share"]
        headers += ["over the\nsteps", "non-\nfinite"]
        table = new_table(self._out, *columns(headers, 2))
        for fork in forks:
            line = lines[fork.name]
            for position, path in enumerate(fork.paths):
                add_row(
                    table,
                    fork.name if position == 0 else "",
                    path.path,
                    _site(path),
                    norm_line(line.site[position], self._unicode),
                    _percent(path.share),
                    self._share(line.share[position]),
                    _count(path.nonfinite),
                )
        show(table, self._out, f"{title}, site norm")
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
            say(line, "red", out=self._out)

    def _share(self, share: np.ndarray) -> str:
        return share_line(share, self._unicode)


def _percent(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.0%}"


def _signed(value: float) -> str:
    return f"{value:+.2f}" if math.isfinite(value) else "-"


def _number(value: float) -> str:
    return "nan" if math.isnan(value) else f"{value:.3g}"


def _site(path: PathSummary) -> Text:
    if path.dead:
        return Text("dead", "red")
    return Text(_number(path.site), "red" if path.nonfinite_steps else "")


def _count(value: int) -> Text:
    return Text(f"{value:,}", "red" if value else "")
