"""Writes a run folder while training; what is written survives a kill.

`metrics.jsonl` holds only what the computation itself determines, so that a run that
was killed and resumed ends with the bytes of one that was not. What a clock says goes
to `timing.jsonl`.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from resseg.errors import UserError
from resseg.runs import layout
from resseg.runs.events import EventWriter
from resseg.runs.gradients_table import BLOCK_COLUMNS, COLUMNS
from resseg.runs.json_files import JsonLines
from resseg.runs.ledger import Ledger
from resseg.runs.parts import BUFFER_ROWS, PartedTable


class RunWriter:
    """The logs of one run.

    Args:
        workdir: The run folder, which exists.
        tensorboard: Write event files too.
        resume_step: None for a folder without logs. Else the step training goes on
            from, 0 where a run was killed before its first checkpoint: every log is cut
            back to it first.
        buffer_rows: Table rows that wait in memory at most before they are written.

    Raises:
        UserError: `resume_step` is None but the folder holds logs, or a log is broken.
    """

    def __init__(
        self,
        workdir: str | os.PathLike,
        *,
        tensorboard: bool,
        resume_step: int | None,
        buffer_rows: int = BUFFER_ROWS,
    ):
        folder = Path(workdir)
        self._tables = {
            layout.GRADIENTS: PartedTable(
                folder / layout.GRADIENTS, COLUMNS, buffer_rows
            ),
            layout.BLOCKS: PartedTable(
                folder / layout.BLOCKS, BLOCK_COLUMNS, buffer_rows
            ),
        }
        if resume_step is None:
            held = [name for name in layout.LOGS if (folder / name).exists()]
            if held:
                raise UserError(f"{folder} already holds {held[0]} of another run")
        else:
            for table in self._tables.values():
                table.cut(resume_step)
        self._metrics: Any = JsonLines(folder / layout.METRICS, resume_step)
        self._timing: Any = JsonLines(folder / layout.TIMING, resume_step)
        self._events = (
            EventWriter(folder / layout.EVENTS, resume_step) if tensorboard else None
        )

    def write_metrics(self, step: int, split: str, values: Mapping[str, Any]) -> None:
        """One line of what the computation determines: numbers, lists of them, text."""
        self._metrics.write({"step": int(step), "split": split, **values})
        if self._events is not None:
            self._events.write(step, split, values)

    def write_timing(self, step: int, values: Mapping[str, Any]) -> None:
        """One line of what a clock says: images/s, seconds."""
        self._timing.write({"step": int(step), **values})
        if self._events is not None:
            self._events.write(step, "timing", values)

    def write_count(self, name: str, step: int, count: int) -> None:
        """How much of the data is left out: for the event files, lists have it all."""
        if self._events is not None:
            self._events.write(step, "data", {name: count})

    def write_ledger(self, step: int, ledger: Ledger) -> None:
        """Where the time of the run went, up to now."""
        self._timing.write({"step": int(step), **ledger.row()})

    def write_gradients(self, step: int, rows: Mapping[str, Sequence]) -> None:
        """The rows that `gradients_table.rows` made of one step."""
        self._append(layout.GRADIENTS, step, rows)

    def write_blocks(self, step: int, rows: Mapping[str, Sequence]) -> None:
        """The rows that `gradients_table.block_rows` made of one step."""
        self._append(layout.BLOCKS, step, rows)

    def _append(self, table: str, step: int, rows: Mapping[str, Sequence]) -> None:
        if any(value != step for value in rows["step"]):
            raise ValueError(f"{table}: rows of other steps than {step}")
        self._tables[table].append(rows)

    def flush(self) -> None:
        """Puts everything on the disk; call it before every checkpoint."""
        for table in self._tables.values():
            table.flush()
        self._metrics.sync()
        self._timing.sync()
        if self._events is not None:
            self._events.flush()

    def close(self) -> None:
        self.flush()
        self._metrics.close()
        self._timing.close()
        if self._events is not None:
            self._events.close()

    def __enter__(self) -> "RunWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class NoWriter(RunWriter):
    """Writes nothing: for a process whose run another one writes down."""

    def __init__(self):
        self._tables, self._events = {}, None
        self._metrics = self._timing = _NoLines()

    def _append(self, table: str, step: int, rows: Mapping[str, Sequence]) -> None:
        pass


class _NoLines:
    def write(self, values: Mapping[str, Any]) -> None:
        pass

    def sync(self) -> None:
        pass

    def close(self) -> None:
        pass
