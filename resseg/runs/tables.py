"""Tables as parquet files: what their columns mean, and how one is written whole."""

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from resseg.errors import UserError, naming
from resseg.runs.parquet_pages import Page, pages

if TYPE_CHECKING:
    # A training never needs it, and it takes a quarter of a second.
    import pandas as pd

# Of one file. A part of a log has 65,536 rows and those of one more step.
_MOST_CELLS = 1 << 27  # rows times columns
_MOST_BYTES = 1 << 27  # unpacked, of a column in one group of rows
_MOST_CHARACTERS = 1 << 12  # bytes of a text
_TEXT = "BYTE_ARRAY"
_TYPES = ("BOOLEAN", "INT32", "INT64", "FLOAT", "DOUBLE", _TEXT)


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
    """What `write_table` wrote.

    Raises:
        UserError: see `read_parquet`.
    """
    return read_parquet(path).to_pandas()


def read_parquet(
    path: Path, columns: Sequence[str] | None = None, schema: pa.Schema | None = None
) -> pa.Table:
    """A file, or some of its columns, once it is known what it unpacks to.

    A kilobyte can say that it holds any number of rows, or one name that is as long as
    the memory.

    Raises:
        UserError: it is larger than any file that is written here.
        ArrowInvalid: it is damaged.
    """
    names = _check_bounded(path)
    if columns is not None:
        names = [name for name in names if name in columns]
    if names:
        # As a dictionary each name takes its room once, however many rows have it.
        indices = pq.ParquetFile(path, read_dictionary=names).read(columns=names)
        for name, column in zip(indices.column_names, indices.columns, strict=True):
            longest = max(map(_longest, column.chunks), default=0)
            if longest > _MOST_CHARACTERS:
                raise _unbounded(path, f"{name!r} with texts of {longest:,} bytes")
    return pq.read_table(path, columns=columns, schema=schema)


def rows_of(path: Path) -> int:
    """How many rows a file says it has."""
    return pq.read_metadata(path).num_rows


def _check_bounded(path: Path) -> list[str]:
    """Refuses what is too large by its own words; its columns of text."""
    with pq.ParquetFile(path) as parquet, open(path, "rb") as file:
        said = parquet.metadata
        groups = [said.row_group(each) for each in range(said.num_row_groups)]
        rows = max(said.num_rows, sum(group.num_rows for group in groups))
        if rows * said.num_columns > _MOST_CELLS:
            raise _unbounded(path, f"{rows:,} rows of {said.num_columns} columns")
        for number in range(said.num_columns):
            described = said.schema.column(number)
            if described.max_repetition_level or described.physical_type not in _TYPES:
                raise _unbounded(path, f"{described.path!r} with more than numbers")
            for group in groups:
                size = sum(page.unpacked for page in _pages(file, group.column(number)))
                if size > _MOST_BYTES:
                    raise _unbounded(path, f"{described.path!r} with {size:,} bytes")
        texts = [said.schema.column(number) for number in range(said.num_columns)]
        return [each.path for each in texts if each.physical_type == _TEXT]


def _pages(file: BinaryIO, column: pq.ColumnChunkMetaData) -> Iterator[Page]:
    start, first = column.data_page_offset, column.dictionary_page_offset
    if column.has_dictionary_page and first is not None and 0 < first < start:
        start = first
    return pages(file, start, column.total_compressed_size)


def _longest(chunk: pa.Array) -> int:
    texts = chunk.dictionary if isinstance(chunk, pa.DictionaryArray) else chunk
    lengths = pc.call_function("binary_length", [texts])
    return pc.call_function("max", [lengths]).as_py() or 0


def _unbounded(path: Path, what: str) -> UserError:
    return UserError(
        f"{path}: would unpack to {what}, more than any table of a run has; restore it "
        "from a copy"
    )


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
