"""A description as a table for a terminal; plain text where there is none."""

import sys
from collections.abc import Callable
from typing import TextIO

from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from resseg.blueprint.description import Description, Part

Cell = Callable[[Part], str]

_PLAIN_WIDTH = 132  # a pipe has no width of its own; wide enough for every column
_UNBOUNDED = 1000  # no table is wider
_WITHOUT = (  # the widest that fits is shown; names and shapes tell most of a kind
    (),
    ("share",),
    ("share", "kind"),
    ("share", "kind", "field"),
    ("share", "kind", "field", "stride", "dilation"),
)


def print_description(
    description: Description, heading: str, file: TextIO | None = None
) -> None:
    """The table, then what holds for the whole network.

    Args:
        heading: the line above it.
        file: standard output unless given.
    """
    file = file or sys.stdout
    console = Console(file=file, highlight=False)
    if not console.is_terminal:
        console = Console(
            file=file, highlight=False, width=_PLAIN_WIDTH, color_system=None
        )
    say(console, heading)
    console.print(_fitting(description, console))
    for sentence in summary(description):
        say(console, sentence)


def say(console: Console, sentence: str) -> None:
    """One line, never cut: it may name a path that someone copies."""
    console.print(
        sentence, markup=False, soft_wrap=True, no_wrap=True, overflow="ignore"
    )


def summary(description: Description) -> list[str]:
    """Sentences on the whole network."""
    counts = description.shortcuts
    letter, factor = unit_of(description.macs)
    listed = ", ".join(f"{count} {kind}" for kind, count in counts.items())
    field = description.receptive_field
    return [
        f"total: {description.params:,} parameters, "
        f"{description.macs / factor:.3f} {letter} multiply-accumulates per image",
        f"deepest backbone feature: output stride {description.output_stride}, "
        f"receptive field {field} x {field} pixels",
        f"forks: {description.forks}; shortcuts: {listed}",
    ]


def unit_of(macs: int) -> tuple[str, float]:
    """The letter in which a network of that many is told, and what it stands for."""
    return ("G", 1e9) if macs >= 1e9 else ("M", 1e6)


def _fitting(description: Description, console: Console) -> Table:
    columns = _columns(description)
    unbounded = console.options.update(max_width=_UNBOUNDED)
    for without in _WITHOUT[:-1]:
        table = _table(description, columns, without, console.is_terminal)
        if Measurement.get(console, unbounded, table).maximum <= console.width:
            return table
    return _table(description, columns, _WITHOUT[-1], console.is_terminal)


def _columns(description: Description) -> dict[str, tuple[str, Cell]]:
    """Name -> header, and the text of a part."""
    params = max(description.params, 1)
    letter, factor = unit_of(description.macs)

    def optional(value: int | None) -> str:
        return "" if value is None else str(value)

    return {
        "name": ("part", _indented),
        "kind": ("kind", lambda part: part.kind),
        "shortcut": ("shortcut", lambda part: part.shortcut),
        "stride": ("str.", lambda part: optional(part.stride)),
        "dilation": ("dil.", lambda part: optional(part.dilation)),
        "output": ("output", lambda part: "×".join(map(str, part.output))),
        "field": ("field", lambda part: optional(part.receptive_field)),
        "params": ("params", lambda part: f"{part.params:,}" if part.params else ""),
        "share": ("share", lambda part: _percent(part.params / params)),
        "macs": (f"{letter}MACs", lambda part: _decimal(part.macs / factor)),
    }


def _table(
    description: Description,
    columns: dict[str, tuple[str, Cell]],
    without: tuple[str, ...],
    terminal: bool,
) -> Table:
    # A pipe wants no rules to grep around.
    table = Table(
        box=box.SIMPLE_HEAD if terminal else None,
        show_edge=False,
        pad_edge=False,
        padding=(0, 1, 0, 0),
    )
    shown = {name: column for name, column in columns.items() if name not in without}
    for name, (header, _) in shown.items():
        left = name in ("name", "kind", "shortcut")
        table.add_column(header, justify="left" if left else "right", no_wrap=True)
    for part in description.rows:
        whole = "/" not in part.name
        style = "bold" if whole else "" if part.params else "dim"
        cells = (Text(cell(part)) for _, cell in shown.values())
        table.add_row(*cells, style=style)
    return table


def _indented(part: Part) -> str:
    *above, name = part.name.split("/")
    return " " * len(above) + name


def _percent(share: float) -> str:
    return f"{share:.1%}" if share else ""


def _decimal(number: float) -> str:
    if not number:
        return ""
    return f"{number:.3f}" if number >= 0.001 else "<0.001"
