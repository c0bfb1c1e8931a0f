"""The loop: of one run, or of several that step together."""

import time
from collections.abc import Mapping
from typing import Any, NamedTuple, NoReturn, Protocol, TypeVar

import jax
import numpy as np

from resseg.training.clock import OTHER, Clock
from resseg.training.progress import TrainingProgress
from resseg.training.stops import Stop, Stopped

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

    def pause(self, step: int) -> bool:
        """Saves and evaluates where due. Rows are on the disk before the state.

        Returns:
            False where an evaluation that is due was cut short, as it was asked to be.
        """
        ...

    def save(self, step: int) -> None:
        """Saves, unless that step has been saved, and waits for it."""
        ...


def run_steps(
    trained: Trainable[Progress],
    start: int,
    progress: Progress,
    stop: Stop,
    clock: Clock,
) -> None:
    """Trains from step `start` to the last.

    Do not reorder it: what a step logs is fetched after the next step has been
    dispatched, and checkpoint and evaluation see the state before the next batch is
    drawn, so a checkpoint of step n holds exactly n batches that made an update. An
    evaluation that was cut short comes where the run goes on, before its next step.

    Raises:
        Stopped: asked by `stop`; everything is saved.
    """
    made, pending, fresh = start, None, start > 0
    while True:
        step = made if pending is None else pending.step
        if stop.asked or (trained.pause_due(step) and (fresh or pending is not None)):
            if pending is not None:
                updated = trained.record(progress, pending)
                pending = None
                if not updated:
                    continue
                made = step
            done = trained.pause(step)
            if stop.asked and not (done and step == trained.steps):
                _end(trained, step)
            progress.restart(step)
        fresh = False
        if step == trained.steps:
            break
        with clock.on("data"):
            batch = _draw(trained, progress, stop)
        if batch is None:
            continue
        if step == start:
            clock.switch("compile")
            log = trained.dispatch(batch)
            jax.block_until_ready(log)
            clock.switch(OTHER)
        else:
            with clock.on("step"):
                log = trained.dispatch(batch)
        if pending is not None and trained.record(progress, pending):
            made = step
        pending = Pending(made + 1, log)
        if step == start:
            stop.in_order()
            progress.restart(step + 1)


def _end(trained: Trainable[Progress], step: int) -> NoReturn:
    """All rows of `step` steps are on the disk."""
    if step:
        trained.save(step)
    raise Stopped(step, trained.steps)


def _draw(
    trained: Trainable[Progress], progress: Progress, stop: Stop
) -> Mapping[str, np.ndarray] | None:
    """The next batch; None where a signal ended those who read it, and asked us."""
    asked = time.monotonic()
    try:
        batch = trained.draw()
    except Exception:
        if stop.has_arrived():
            return None
        raise
    progress.wait(time.monotonic() - asked)
    return batch
