"""A table that grows while a run trains: parquet parts in one folder.

Rows wait in memory until `flush`, which writes them as one part, whole or not at all.
A part is named by its first step alone, so that cutting it short replaces it in one
step of the file system. The table read back does not depend on where parts begin.
"""

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from resseg.errors import UserError
from resseg.runs.tables import (
    Column,
    read_parquet,
    rows_of,
    schema,
    write_parquet,
)

if TYPE_CHECKING:
    # A training never needs it, and it takes a quarter of a second.
    import pandas as pd

BUFFER_ROWS = 65_536
_CELL = 8  # bytes of a number


class PartedTable:
    """Appends steps to the parts in `folder`."""

    def __init__(
        self,
        folder: str | os.PathLike,
        columns: Sequence[Column],
        buffer_rows: int = BUFFER_ROWS,
    ):
        self._folder = Path(folder)
        self._schema = schema(columns)
        self._buffer_rows = buffer_rows
        self._buffer: dict[str, list] = {column.name: [] for column in columns}
        self._last_step = -1

    def append(self, rows: Mapping[str, Sequence]) -> None:
        """Takes the rows of one step, by column; steps must increase.

        Raises:
            ValueError: A column is missing or unknown, or the step does not increase.
        """
        if set(rows) != set(self._buffer):
            raise ValueError(f"columns {sorted(rows)}, expected {sorted(self._buffer)}")
        if not len(rows["step"]):
            return
        step = rows["step"][0]
        if step <= self._last_step:
            raise ValueError(f"rows of step {step} after those of {self._last_step}")
        self._last_step = rows["step"][-1]
        for name, column in self._buffer.items():
            column.extend(rows[name])
        if len(self._buffer["step"]) >= self._buffer_rows:
            self.flush()

    def flush(self) -> None:
        """Writes the waiting rows; afterwards they survive a kill."""
        if not self._buffer["step"]:
            return
        table = pa.table(self._buffer, schema=self._schema)
        write_parquet(table, self._part(self._buffer["step"][0]))
        for column in self._buffer.values():
            column.clear()

    def cut(self, step: int) -> None:
        """Drops what is stored of later steps, and what a killed flush left behind.

        Raises:
            UserError: the last part to keep is damaged.
        """
        for leftover in self._folder.glob("*.partial"):
            leftover.unlink()
        kept = []
        for part in parts(self._folder):
            if _first_step(part) > step:
                part.unlink()
            else:
                kept.append(part)
        if kept:  # parts do not overlap: only the last can reach past the step
            with _damage_named(kept[-1]):
                table = read_parquet(kept[-1])
            short = table.filter(pc.field("step") <= step)
            if short.num_rows < table.num_rows:
                write_parquet(short, kept[-1])
        self._last_step = step

    def _part(self, step: int) -> Path:
        return self._folder / f"part-{step:09d}.parquet"


def parts(folder: str | os.PathLike) -> list[Path]:
    """The parts of a table in the order of their steps."""
    return sorted(Path(folder).glob("part-*.parquet"), key=_first_step)


def read_parts(
    folder: str | os.PathLike,
    columns: Sequence[Column],
    names: Sequence[str] | None = None,
) -> "pd.DataFrame":
    """The whole table, or its columns `names`, in the order it was written.

    That order is by step, then by depth, then by the fork's own order of paths. A
    folder that is missing or empty gives an empty table with the same columns.

    Raises:
        UserError: a part is damaged, or larger than the memory.
    """
    whole = schema(columns)
    wanted = whole if names is None else pa.schema([whole.field(n) for n in names])
    found, tables = parts(folder), []
    _check_memory(Path(folder), found, len(wanted))
    for part in found:
        with _damage_named(part):
            tables.append(read_parquet(part, wanted.names, whole))
    table = pa.concat_tables(tables) if tables else wanted.empty_table()
    return table.to_pandas()


def _check_memory(folder: Path, found: Sequence[Path], columns: int) -> None:
    """Refuses a table that is larger than the memory of this machine."""
    rows = 0
    for part in found:
        with _damage_named(part):
            rows += rows_of(part)
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if rows * columns * _CELL > memory:
        raise UserError(
            f"{folder}: {rows:,} rows take {rows * columns * _CELL >> 30:,} GiB, this "
            f"machine has {memory >> 30:,}"
        )


@contextlib.contextmanager
def _damage_named(part: Path) -> Iterator[None]:
    try:
        yield
    except (pa.ArrowInvalid, OSError) as error:
        if isinstance(error, OSError) and error.errno:  # Arrow's own have no number
            reason = os.strerror(error.errno)
            raise UserError(f"{part}: cannot be read: {reason}") from error
        if _can_be_read(part):
            raise UserError(
                f"{part}: holds other values than resseg writes ({error}); restore it "
                "from a copy"
            ) from error
        raise UserError(
            f"{part}: damaged; restore it from a copy, or move it away to go without "
            f"the rows of these steps, from {_first_step(part)} on"
        ) from error


def _can_be_read(part: Path) -> bool:
    try:
        read_parquet(part)
    except (pa.ArrowInvalid, OSError):
        return False
    return True


def _first_step(part: Path) -> int:
    return int(part.stem.removeprefix("part-"))
