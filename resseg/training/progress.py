"""What a training shows while it steps: lines, or a bar on a terminal."""

import math
import time
from collections.abc import Mapping
from typing import Any, Self

from rich.progress import BarColumn, MofNCompleteColumn, TextColumn

from resseg.console import console, duration, live, say


class TrainingProgress:
    """Shows step, loss, mIoU, images/s, share of time spent waiting for data, ETA.

    The rate and the ETA are of the steps since the line before, so that compilation and
    evaluation do not distort them.
    """

    def __init__(self, start: int, steps: int, batch_size: int):
        self._steps, self._batch = steps, batch_size
        self._last_step, self._last_time, self._waited = start, time.monotonic(), 0.0
        self._bar, self._text = None, ""
        if console.is_terminal:
            self._bar = live(
                TextColumn("step"),
                MofNCompleteColumn(),
                BarColumn(bar_width=24),
                TextColumn("{task.fields[text]}"),
                out=console,
            )
            self._task = self._bar.add_task(
                "", total=steps, completed=start, text="compiling"
            )
            self._bar.start()

    def wait(self, seconds: float) -> None:
        """Counts time in which the loop had no batch to work on."""
        self._waited += seconds

    def restart(self, step: int) -> None:
        """Counts from here: what was before held compilation or evaluation."""
        self._last_step, self._last_time, self._waited = step, time.monotonic(), 0.0
        if self._bar is not None:
            self._bar.update(self._task, completed=step, text=self._text)

    def update(self, step: int, values: Mapping[str, float]) -> dict[str, float]:
        """Shows one line; returns what the clock says of the steps since the last."""
        timing = self.read(step)
        self.show(step, values, timing)
        return timing

    def read(self, step: int) -> dict[str, float]:
        """What the clock says of the steps since it was read last."""
        now = time.monotonic()
        done = max(step - self._last_step, 1)
        elapsed = max(now - self._last_time, 1e-9)
        timing = {
            "seconds_per_step": elapsed / done,
            "images_per_second": done * self._batch / elapsed,
            "data_wait": min(self._waited / elapsed, 1.0),
        }
        self._last_step, self._last_time, self._waited = step, now, 0.0
        return timing

    def show(
        self, step: int, values: Mapping[str, float], timing: Mapping[str, float]
    ) -> None:
        """One line of what `read` gave, and of loss and mean IoU."""
        eta = duration((self._steps - step) * timing["seconds_per_step"])
        text = (
            f"loss {values['loss']:.4f}  mIoU {values['mean_iou']:.3f}  "
            f"{timing['images_per_second']:.1f} images/s  "
            f"data wait {timing['data_wait']:.0%}  ETA {eta}"
        )
        if self._bar is None:
            width = len(str(self._steps))
            say(f"step {step:>{width}}/{self._steps}  {text}", out=console)
        else:
            self._text = text
            self._bar.update(self._task, completed=step, text=text)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()


class GroupProgress(TrainingProgress):
    """One line for all runs together; the clock is read once a line.

    The line shows the means of loss and mIoU, and the images of all runs per second.
    """

    def __init__(self, start: int, steps: int, batch_size: int, count: int):
        super().__init__(start, steps, batch_size * count)
        self._count, self._values = count, []
        self._timing: dict[str, float] = {}

    def update(self, step: int, values: Mapping[str, float]) -> dict[str, float]:
        """What the clock says of one of the runs: its images/s are its own alone."""
        if not self._values:
            self._timing = self.read(step)
        self._values.append(values)
        rate = self._timing["images_per_second"] / self._count
        return self._timing | {"images_per_second": rate}

    def end_line(self, step: int) -> None:
        """Shows the line, where runs have a row at this step."""
        if not self._values:
            return
        finite = [row for row in self._values if math.isfinite(row["loss"])]
        rows = finite or self._values
        means = {
            name: sum(row[name] for row in rows) / len(rows)
            for name in ("loss", "mean_iou")
        }
        self.show(step, means, self._timing)
        self._values = []
