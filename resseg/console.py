"""What commands say: lines, tables and live progress; plain text where no terminal is.

    out = open_console()
    table = new_table(out, left("run"), right("step"), folded("what"))
    add_row(table, run.id, "40", run.message)
    show(table, out)

Names and messages of users are shown as they are: no text is read as rich's markup.
"""

import contextlib
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from typing import TextIO

from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Column, Table
from rich.text import Text

from resseg.text import shown

console = Console(highlight=False)  # standard output, whatever it is at the time

_UNBOUNDED = 1000  # a pipe has no width of its own, and no table is wider


def open_console(file: TextIO | None = None) -> Console:
    """Standard output, or a file: plain and as wide as its lines but on a terminal."""
    out = Console(file=file, highlight=False)
    if out.is_terminal:
        return out
    return Console(file=file, highlight=False, width=_UNBOUNDED, color_system=None)


def say(text: str | Text = "", style: str = "", *, out: Console = console) -> None:
    """One line, above a live bar if there is one; never cut: someone may copy it."""
    line = Text(shown(text), style) if isinstance(text, str) else text
    out.print(line, soft_wrap=True)


def left(header: str) -> Column:
    """A column of words, flush left."""
    return Column(Text(shown(header)), no_wrap=True)


def right(header: str) -> Column:
    """A column of numbers, flush right."""
    return Column(Text(shown(header)), no_wrap=True, justify="right")


def folded(header: str) -> Column:
    """A column of words that are broken where a terminal is too narrow for them."""
    return Column(Text(shown(header)), overflow="fold")


def columns(headers: Sequence[str], words: int = 1) -> list[Column]:
    """So many columns of words, all others of numbers."""
    return [(left if at < words else right)(name) for at, name in enumerate(headers)]


def new_table(out: Console, *columns: Column) -> Table:
    """A table without rows: a rule below its head on a terminal, none in a pipe."""
    rule, gap = (box.SIMPLE_HEAD, 1) if out.is_terminal else (None, 2)
    return Table(
        *(column.copy() for column in columns),  # they hold the cells of their table
        box=rule,
        show_edge=False,
        pad_edge=False,
        padding=(0, gap, 0, 0),
    )


def add_row(
    table: Table, *cells: str | Text, style: str = "", ends_group: bool = False
) -> None:
    """A row of texts as they are."""
    texts = (Text(shown(cell)) if isinstance(cell, str) else cell for cell in cells)
    table.add_row(*texts, style=style, end_section=ends_group)


def fits(table: Table, out: Console) -> bool:
    """Whether a table can be shown without cutting any cell."""
    unbounded = out.options.update(max_width=_UNBOUNDED)
    return Measurement.get(out, unbounded, table).maximum <= out.width


def show(table: Table, out: Console, title: str = "") -> None:
    """Prints a table, its title in a line of its own: a narrow table would break it."""
    if title:
        say(out=out)
        say(title, "italic", out=out)
    if out.is_terminal:
        out.print(table)
        return
    with out.capture() as capture:
        out.print(table)
    for line in capture.get().splitlines():
        say(line.rstrip(), out=out)


def clean(text: str) -> str:
    """One line, without characters that control a terminal."""
    kept = (" " if unicodedata.category(c).startswith("C") else c for c in text)
    return " ".join("".join(kept).split())


def live(*columns: ProgressColumn | str, out: Console = console) -> Progress:
    """Bars that are there on a terminal alone, and only as long as work goes on."""
    return Progress(*columns, console=out, transient=True, disable=not out.is_terminal)


@contextlib.contextmanager
def counting(
    text: str, total: int, *, out: Console = console
) -> Iterator[Callable[[int], None]]:
    """A bar with ETA over `total` things; tell what it gives how many were done."""
    bar = live(
        TextColumn(text, markup=False),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        out=out,
    )
    with bar:
        task = bar.add_task("", total=total)
        yield lambda done: bar.advance(task, done)


def duration(seconds: float) -> str:
    """3725 -> "1:02:05"."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
