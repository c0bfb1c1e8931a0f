"""What `resseg probe` measured, where a run folder holds it."""

from pathlib import Path

import pandas as pd

from resseg.report.page import formatting
from resseg.report.page.document import csv_button
from resseg.report.page.markup import Cell, Html, join, table, tag
from resseg.report.run.samples import file_uri
from resseg.runs import layout
from resseg.runs.tables import read_table

_FIRST = 12  # rows of a table that stand on the page
_WHOLE = 5000  # rows that its download holds at most


def read_probes(folder: Path) -> dict[str, pd.DataFrame]:
    """The tables by the name of their probe; a damaged one is left out."""
    tables = {}
    for path in sorted((folder / layout.PROBES).glob("*.parquet")):
        try:
            tables[path.stem] = read_table(path)
        except (OSError, ValueError):
            continue
    return tables


def section(folder: Path, tables: dict[str, pd.DataFrame]) -> Html:
    """Picture and first rows of each."""
    return join(_probe(folder, name, frame) for name, frame in tables.items())


def _probe(folder: Path, name: str, frame: pd.DataFrame) -> Html:
    picture = folder / layout.PROBES / f"{name}.png"
    image = None
    if picture.is_file():
        image = tag(
            "img",
            src=file_uri(picture.read_bytes(), "png"),
            alt=f"Figure of the probe {name}; its numbers are in the table below",
        )
    rows = formatting.plural(len(frame), "row")
    more = "" if len(frame) <= _FIRST else f", the first {_FIRST} shown"
    kept = frame if len(frame) <= _WHOLE else frame.head(_WHOLE)
    caption = f"{name}: {rows}{more}"
    if len(kept) < len(frame):
        caption += f"; the CSV holds {len(kept):,}"
    return tag(
        "figure",
        tag("h3", name),
        image,
        tag(
            "figcaption",
            f"resseg probe --what {name}. ",
            csv_button(table_name(name), name),
        ),
        table(
            caption,
            [column.replace("_", " ") for column in frame.columns],
            [[_cell(value) for value in row] for row in _head(frame)],
            text_columns=_texts(frame),
        ),
        cls="probes",
    )


def table_name(probe: str) -> str:
    """Under which the table of a probe stands among those of the page."""
    return f"probe-{probe}"


def for_scripts(frame: pd.DataFrame) -> dict:
    """The table for its download."""
    kept = frame.head(_WHOLE)
    return {"columns": list(kept.columns), "rows": [list(row) for row in _tuples(kept)]}


def _tuples(frame: pd.DataFrame):
    return frame.itertuples(index=False, name=None)


def _head(frame: pd.DataFrame):
    return _tuples(frame.head(_FIRST))


def _texts(frame: pd.DataFrame) -> int:
    """How many columns in front hold text."""
    count = 0
    for name in frame.columns:
        if pd.api.types.is_numeric_dtype(frame[name]):
            break
        count += 1
    return count


def _cell(value: object) -> Cell:
    if isinstance(value, float):
        return Cell(formatting.number(value), value if value == value else -1e308)
    return Cell(str(value))
