"""A description as a table for a terminal; plain text where there is none."""

from collections.abc import Callable
from typing import TextIO

from rich.console import Console
from rich.table import Column, Table

from resseg.blueprint.description import Description, Part
from resseg.console import (
    add_row,
    fits,
    left,
    new_table,
    open_console,
    right,
    say,
    show,
)

TextOfPart = Callable[[Part], str]

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
    out = open_console(file)
    say(heading, out=out)
    show(_fitting(description, out), out)
    for sentence in summary(description):
        say(sentence, out=out)


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


def _fitting(description: Description, out: Console) -> Table:
    columns = _columns(description)
    for without in _WITHOUT[:-1]:
        table = _table(description, columns, without, out)
        if fits(table, out):
            return table
    return _table(description, columns, _WITHOUT[-1], out)


def _columns(description: Description) -> dict[str, tuple[Column, TextOfPart]]:
    """By name: the head of a column, and the text of a part in it."""
    params = max(description.params, 1)
    letter, factor = unit_of(description.macs)

    def optional(value: int | None) -> str:
        return "" if value is None else str(value)

    return {
        "name": (left("part"), _indented),
        "kind": (left("kind"), lambda part: part.kind),
        "shortcut": (left("shortcut"), lambda part: part.shortcut),
        "stride": (right("str."), lambda part: optional(part.stride)),
        "dilation": (right("dil."), lambda part: optional(part.dilation)),
        "output": (right("output"), lambda part: "×".join(map(str, part.output))),
        "field": (right("field"), lambda part: optional(part.receptive_field)),
        "params": (
            right("params"),
            lambda part: f"{part.params:,}" if part.params else "",
        ),
        "share": (right("share"), lambda part: _percent(part.params / params)),
        "macs": (right(f"{letter}MACs"), lambda part: _decimal(part.macs / factor)),
    }


def _table(
    description: Description,
    columns: dict[str, tuple[Column, TextOfPart]],
    without: tuple[str, ...],
    out: Console,
) -> Table:
    kept = [column for name, column in columns.items() if name not in without]
    table = new_table(out, *(head for head, _ in kept))
    for part in description.rows:
        whole = "/" not in part.name
        style = "bold" if whole else "" if part.params else "dim"
        add_row(table, *(text(part) for _, text in kept), style=style)
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
