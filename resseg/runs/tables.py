"""Tables as parquet files: what their columns mean, and how one is written whole."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from resseg.errors import naming

if TYPE_CHECKING:
    # A training never needs it, and it takes a quarter of a second.
    import pandas as pd


class Column(NamedTuple):
    """One column of a table: its type in numpy's words, unit and meaning."""

    name: str
    dtype: str
    unit: str
    meaning: str


def write_table(
    path: Path, columns: Sequence[Column], rows: Mapping[str, Sequence]
) -> "pd.DataFrame":
    """Writes `rows`, by column, whole or not at all; returns them as a table.

    Raises:
        ValueError: a column is missing or unknown.
    """
    names = [column.name for column in columns]
    if set(rows) != set(names):
        raise ValueError(f"columns {sorted(rows)}, expected {sorted(names)}")
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.table({name: list(rows[name]) for name in names}, schema=schema(columns))
    write_parquet(table, path)
    return table.to_pandas()


def read_table(path: Path) -> "pd.DataFrame":
    """What `write_table` wrote."""
    return pq.read_table(path).to_pandas()


def schema(columns: Sequence[Column]) -> pa.Schema:
    """The arrow schema of a table."""
    names = {"str": "string", "int64": "int64", "float64": "float64"}
    return pa.schema(
        [(column.name, pa.type_for_alias(names[column.dtype])) for column in columns]
    )


def write_parquet(table: pa.Table, path: Path) -> None:
    """Writes `table` to `path`, whole or not at all."""
    path.parent.mkdir(exist_ok=True)
    partial = path.with_suffix(".partial")
    with naming(path), open(partial, "wb") as file:
        pq.write_table(table, file, compression="zstd")
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path)
