"""A table that is written at once: one parquet file, and its columns said in it."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from resseg.runs.gradients_table import Column
from resseg.runs.parts import schema, write_parquet


def write_table(
    path: Path, columns: Sequence[Column], rows: Mapping[str, Sequence]
) -> pd.DataFrame:
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


def read_table(path: Path) -> pd.DataFrame:
    """What `write_table` wrote."""
    return pq.read_table(path).to_pandas()
