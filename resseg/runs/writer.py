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
from resseg.runs.events import EventWriter, scalars
from resseg.runs.gradients_table import BLOCK_COLUMNS, COLUMNS
from resseg.runs.json_files import JsonLines
from resseg.runs.ledger import Ledger
from resseg.runs.parts import BUFFER_ROWS, PartedTable
from resseg.runs.trackers.behind import Trackers


class RunWriter:
    """The logs of one run.

    Args:
        workdir: The run folder, which exists.
        tensorboard: Write event files too.
        trackers: Write to these too; None = to none.
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
        trackers: Trackers | None = None,
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
        self._trackers = trackers
        self._norms: tuple[int, Mapping[str, Sequence]] = 0, {}

    def write_metrics(self, step: int, split: str, values: Mapping[str, Any]) -> None:
        """One line of what the computation determines: numbers, lists of them, text."""
        self._metrics.write({"step": int(step), "split": split, **values})
        self._show(step, split, values)
        if self._trackers is not None and split == "train" and self._norms[0] == step:
            self._trackers.write(step, norms(self._norms[1]))

    def write_timing(self, step: int, values: Mapping[str, Any]) -> None:
        """One line of what a clock says: images/s, seconds."""
        self._timing.write({"step": int(step), **values})
        self._show(step, "timing", values)

    def write_count(self, name: str, step: int, count: int) -> None:
        """How much of the data is left out: for curves, lists have it all."""
        self._show(step, "data", {name: count})

    def _show(self, step: int, group: str, values: Mapping[str, Any]) -> None:
        """Event files and trackers have the same names."""
        if self._events is not None:
            self._events.write(step, group, values)
        if self._trackers is not None:
            self._trackers.write(step, scalars(group, values))

    def write_ledger(self, step: int, ledger: Ledger) -> None:
        """Where the time of the run went, up to now."""
        self._timing.write({"step": int(step), **ledger.row()})

    def write_gradients(self, step: int, rows: Mapping[str, Sequence]) -> None:
        """The rows that `gradients_table.rows` made of one step.

        Trackers get the norms of those steps that have a line of metrics.
        """
        self._append(layout.GRADIENTS, step, rows)
        self._norms = step, rows

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
        if self._trackers is not None:
            self._trackers.close()

    def __enter__(self) -> "RunWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def norms(rows: Mapping[str, Sequence]) -> dict[str, float]:
    """Of each path of each fork the norm by pixels, and its share, as scalars."""
    named = {}
    columns = zip(
        *(rows[name] for name in ("fork", "path", "site", "share")), strict=True
    )
    for fork, path, norm, share in columns:
        named[f"gradient_norm/{fork}/{path}"] = float(norm)
        named[f"gradient_share/{fork}/{path}"] = float(share)
    return named


class NoWriter(RunWriter):
    """Writes nothing: for a process whose run another one writes down."""

    def __init__(self):
        self._tables, self._events, self._trackers = {}, None, None
        self._norms = 0, {}
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
