"""The loop: of one run, or of several that step together."""

import time
from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol, TypeVar

import jax
import numpy as np

from resseg.training.progress import TrainingProgress

Progress = TypeVar("Progress", bound=TrainingProgress, contravariant=True)


class Pending(NamedTuple):
    """A step whose log has been dispatched but not fetched."""

    step: int
    log: dict[str, Any]


class Trainable(Protocol[Progress]):
    """What the loop trains."""

    @property
    def steps(self) -> int:
        """After which it ends."""
        ...

    def draw(self) -> Mapping[str, np.ndarray]:
        """The next batch."""
        ...

    def dispatch(self, batch: Mapping[str, np.ndarray]) -> dict[str, Any]:
        """Starts a step and returns its log; waits for neither."""
        ...

    def record(self, progress: Progress, pending: Pending) -> None:
        """Fetches and writes the log of a step that has been dispatched before."""
        ...

    def pause_due(self, step: int) -> bool:
        """Whether there is something to evaluate or to save after `step` steps."""
        ...

    def pause(self, step: int) -> None:
        """Evaluates and saves where due. Rows are on the disk before the state."""
        ...


def run_steps(trained: Trainable[Progress], start: int, progress: Progress) -> None:
    """Trains from step `start` to the last.

    Do not reorder it: what a step logs is fetched after the next step has been
    dispatched, and evaluation and checkpoint see the state before the next batch is
    drawn, so a checkpoint of step n holds exactly n consumed batches.
    """
    pending = None
    for step in range(start, trained.steps + 1):
        if pending is not None and trained.pause_due(step):
            trained.record(progress, pending)
            pending = None
            trained.pause(step)
            progress.restart(step)
        if step == trained.steps:
            break
        asked = time.monotonic()
        batch = trained.draw()
        progress.wait(time.monotonic() - asked)
        log = trained.dispatch(batch)
        if pending is not None:
            trained.record(progress, pending)
        pending = Pending(step + 1, log)
        if step == start:
            jax.block_until_ready(log)
            progress.restart(step + 1)
