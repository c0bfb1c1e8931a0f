"""Batches that a run goes on without: `config.train.on_nonfinite`.

A run that drops a batch is a run whose data never held it: the batches behind it move
up, each update is the one that they would have made, and what it leaves behind is the
same to the last bit. `skip` knows that in the step, `rollback` from its log, which is
there when the weights are harmed already, so that it takes them from the checkpoint.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from resseg.runs import RunWriter
from resseg.runs.dropped import Dropped, read_dropped, write_dropped
from resseg.training.guard import ROLLBACK, STOP, harms, is_finite
from resseg.training.recorder import Diverged

BATCHES = "dropped_batches"  # in the event files
MOST = 10  # batches dropped for one update before it is not the data


class RolledBack(Exception):
    """The run goes on from its last checkpoint."""


class Dropping:
    """Drops the batches of a run that its training cannot use.

    Args:
        folder: of the run.
        mode: `config.train.on_nonfinite`.
        writer: of the run folder.
        say: called with each line that is for people.
    """

    def __init__(
        self, folder: Path, mode: str, writer: RunWriter, say: Callable[[str], None]
    ):
        self._folder, self._mode = folder, mode
        self._writer, self._say = writer, say

    def is_due(self, log: Mapping[str, Any]) -> bool:
        """Whether the batch of a step, by its log on the host, is to be dropped."""
        return self._mode != STOP and not is_finite(log)

    def drop(self, step: int, log: Mapping[str, Any], batch: int, reason: str) -> None:
        """Leaves a batch out for good.

        Args:
            step: of the update that it was to make.
            log: of that step, on the host.
            batch: its number in the data.
            reason: what was not finite.

        Raises:
            RolledBack: the state is harmed: the run goes on from its checkpoint.
            Diverged: `MOST` batches have failed to make this update. They are not
                dropped then, as it is hardly them.
        """
        dropped = [*read_dropped(self._folder), Dropped(batch, step, reason)]
        others = [each for each in dropped if each.step != step]
        if len(dropped) - len(others) == MOST:
            write_dropped(self._folder, others)
            raise Diverged(
                f"step {step}: none of {MOST} batches made it, so it is not them; the "
                f"last, {batch}: {reason}; nothing after the last checkpoint is kept",
                step,
            )
        write_dropped(self._folder, dropped)
        self._say(f"step {step}: batch {batch} is dropped: {reason}")
        if self._mode == ROLLBACK or harms(log):
            raise RolledBack
        self._writer.write_count(BATCHES, step - 1, len(dropped))
