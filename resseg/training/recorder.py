"""What a step has measured, as rows of a run folder."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from resseg import runs
from resseg.gradients.coefficients import on_line
from resseg.gradients.fork import ForkInfo
from resseg.inference import metrics
from resseg.runs import gradients_table
from resseg.training.batch_hash import as_text
from resseg.training.guard import harms
from resseg.training.intervals import Intervals
from resseg.training.progress import TrainingProgress
from resseg.training.scaling import SCALE


class Diverged(RuntimeError):
    """The loss is not finite any more; the message names where it began.

    Attributes:
        step: that was not finite; 0 where there is no single one.
    """

    def __init__(self, message: str, step: int = 0):
        super().__init__(message)
        self.step = step


class Recorder:
    """Turns the log of a step into rows of metrics, gradients, blocks and time.

    Args:
        writer: of the run folder.
        intervals: when which rows are due.
        forks: of the network, in depth order.
        lines: of the coefficients that a schedule moves, by name; see `on_line`.
    """

    def __init__(
        self,
        writer: runs.RunWriter,
        intervals: Intervals,
        forks: Sequence[ForkInfo],
        lines: Mapping[str, np.ndarray],
    ):
        self._writer, self._intervals = writer, intervals
        self._forks, self._lines = forks, lines

    def record(
        self, step: int, log: Mapping[str, Any], progress: TrainingProgress
    ) -> None:
        """Writes the rows of a step that are due.

        Args:
            step: steps made, this one included.
            log: that the train step gave, on the host.
            progress: is shown the metrics, and knows the time.

        Raises:
            Diverged: loss or gradient is not finite; all rows so far are on the disk.
        """
        scalars = {name: float(value) for name, value in log["scalars"].items()}
        finite = np.isfinite(scalars["loss"]) and np.isfinite(scalars["grad_norm"])
        if self._intervals.gradients_due(step):
            self._write_gradients(step, scalars, log)
        if self._intervals.line_due(step) or not finite:
            self._write_line(step, scalars, log, progress)
        if not finite:
            self._writer.flush()
            raise Diverged(
                f"step {step}: {_sizes(log)}; nothing after the last checkpoint is "
                f"kept{_first_fork(self._forks, log)}",
                step,
            )

    def diagnosis(self, log: Mapping[str, Any]) -> str:
        """What of a step is not finite, and where that began."""
        return diagnosis(self._forks, log)

    def _write_gradients(
        self, step: int, scalars: Mapping[str, float], log: Mapping[str, Any]
    ) -> None:
        rows = gradients_table.rows(
            step,
            self._forks,
            log["forks"],
            scalars["loss_pixels"],
            loss_scale=scalars.get(SCALE, 1.0),
            clip_factor=scalars["clip_factor"],
            joins=log["joins"],
        )
        self._writer.write_gradients(step, rows)
        blocks = gradients_table.block_rows(step, **log["blocks"])
        self._writer.write_blocks(step, blocks)

    def _write_line(
        self,
        step: int,
        scalars: Mapping[str, float],
        log: Mapping[str, Any],
        progress: TrainingProgress,
    ) -> None:
        scores: Any = metrics.scores(log["confusion"].astype(np.int64))
        values = {**scalars, "mean_iou": float(scores["mean_iou"])}
        seen = {"batch_hash": as_text(log["batch_hash"])}
        self._writer.write_metrics(step, "train", values | seen)
        if moving := self._moving(step, log["learned"]):
            self._writer.write_metrics(step, "coefficients", moving)
        self._writer.write_timing(step, progress.update(step, values))

    def _moving(self, step: int, learned: Mapping[str, Any]) -> dict[str, float]:
        """The coefficients that were in force in a step, of those that move."""
        scheduled = {
            name: on_line(line, step - 1) for name, line in self._lines.items()
        }
        return {name: float(value) for name, value in {**learned, **scheduled}.items()}


def diagnosis(forks: Sequence[ForkInfo], log: Mapping[str, Any]) -> str:
    """What of a step is not finite, and where that began.

    Args:
        forks: of the network, in depth order.
        log: that the train step gave, on the host.
    """
    return f"{_sizes(log)}{_first_fork(forks, log)}"


def _first_fork(forks: Sequence[ForkInfo], log: Mapping[str, Any]) -> str:
    """Which fork the backward pass, which runs from the deepest, broke at first."""
    measured = log["forks"]
    for fork in reversed(forks):
        if fork.name in measured and measured[fork.name].total_nonfinite > 0:
            return f"; first non-finite gradient at {fork.name}"
    return ""


def _sizes(log: Mapping[str, Any]) -> str:
    scalars = log["scalars"]
    loss, norm = float(scalars["loss"]), float(scalars["grad_norm"])
    text = f"loss {loss}, gradient norm {norm}"
    return f"{text}, update not finite or too large" if harms(log) else text
