"""The loop: of one run, or of several that step together."""

import time
from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol, TypeVar

import jax
import numpy as np

from resseg.training.progress import TrainingProgress

Progress = TypeVar("Progress", bound=TrainingProgress, contravariant=True)


class Pending(NamedTuple):
    """A step whose log has been dispatched but not fetched.

    Attributes:
        step: of its update, if all before it made theirs.
        log: on the device.
    """

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

    def record(self, progress: Progress, pending: Pending) -> bool:
        """Fetches and writes the log of a step that has been dispatched before.

        Returns:
            Whether it made its update; if not, the next batch makes that one.
        """
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
    drawn, so a checkpoint of step n holds exactly n batches that made an update.
    """
    made, pending = start, None
    while True:
        step = made if pending is None else pending.step
        if pending is not None and trained.pause_due(step):
            updated = trained.record(progress, pending)
            pending = None
            if not updated:
                continue
            made = step
            trained.pause(step)
            progress.restart(step)
        if step == trained.steps:
            break
        asked = time.monotonic()
        batch = trained.draw()
        progress.wait(time.monotonic() - asked)
        log = trained.dispatch(batch)
        if pending is not None and trained.record(progress, pending):
            made = step
        pending = Pending(made + 1, log)
        if step == start:
            jax.block_until_ready(log)
            progress.restart(step + 1)
