"""Trackers get what they are given in threads of their own.

A training neither waits for them nor ends with them: what a tracker cannot do is one
line, and the run goes on without it.
"""

import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from resseg.errors import require_installed
from resseg.runs import layout
from resseg.runs.json_files import read_json, write_json
from resseg.runs.trackers.to_mlflow import Mlflow
from resseg.runs.trackers.to_trackio import Trackio
from resseg.runs.trackers.to_wandb import Wandb
from resseg.runs.trackers.tracker import About, Tracker

OPEN: Mapping[str, Callable[[About], Tracker]] = {
    "wandb": Wandb,
    "mlflow": Mlflow,
    "trackio": Trackio,
}
_WAITING = 10_000  # writes that wait at most; a tracker that is slower loses some
_PATIENCE = 30.0  # seconds that a run waits for a tracker at its end

Warn = Callable[[str], None]


def require(names: Sequence[str]) -> None:
    """That the packages of trackers are installed.

    Raises:
        UserError: one is not.
    """
    for name in names:
        require_installed(name, name, f"config.log.trackers={name}")


class Behind:
    """One tracker of one run, in a thread.

    Args:
        name: of the tracker.
        about: of the run; its identity is read from the run folder.
        resumed: whether the run goes on, and so does what the tracker has of it.
        warn: called with each line that is for people.
    """

    def __init__(self, name: str, about: About, *, resumed: bool, warn: Warn):
        self._name, self._warn = name, warn
        self._file = about.folder / layout.TRACKERS / f"{name}.json"
        known = read_json(self._file) if resumed and self._file.exists() else {}
        self._about = about._replace(identity=known.get("identity", ""))
        self._step = known.get("step", 0)
        self._given: queue.SimpleQueue[tuple[int, dict[str, float]] | None]
        self._given = queue.SimpleQueue()
        self._over = self._full = False
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Takes the numbers of a step; returns at once."""
        if self._over or step < self._step:  # it has the earlier ones, the same
            return
        if self._given.qsize() < _WAITING:
            self._given.put((step, dict(values)))
        elif not self._full:
            self._full = True
            self._say("is slower than the training, which leaves numbers out")

    def end(self) -> None:
        """The run has no further step."""
        self._given.put(None)

    def wait(self, seconds: float) -> None:
        """Waits so long at most until the tracker has everything."""
        self._thread.join(seconds)
        if self._thread.is_alive() and not self._over:
            self._over = True
            self._say("does not come to an end, and is not waited for")

    def _work(self) -> None:
        try:
            tracker = OPEN[self._name](self._about)
            self._keep(tracker, self._step)
            self._warn(f"{self._name}: {tracker.place}")
            while (given := self._given.get()) is not None:
                tracker.write(*given)
                self._keep(tracker, given[0])
            tracker.finish()
        except BaseException as error:
            over, self._over = self._over, True
            if not over:
                reason = " ".join(str(error).split())[:300]
                self._say(f"failed, the run goes on without it ({reason})")

    def _keep(self, tracker: Tracker, step: int) -> None:
        self._file.parent.mkdir(exist_ok=True)
        write_json(self._file, {"identity": tracker.identity, "step": step})

    def _say(self, words: str) -> None:
        self._warn(f"note: {self._name} {words}")


class Trackers:
    """All trackers of a run.

    Args:
        names: of them.
        about: of the run.
        resumed: whether the run goes on.
        warn: called with each line that is for people.
    """

    def __init__(
        self, names: Sequence[str], about: About, *, resumed: bool, warn: Warn
    ):
        self._all = [
            Behind(name, about, resumed=resumed, warn=warn)
            for name in dict.fromkeys(names)
        ]

    def write(self, step: int, values: Mapping[str, float]) -> None:
        for each in self._all:
            each.write(step, values)

    def close(self, patience: float = _PATIENCE) -> None:
        """Waits for all of them together, but not for long.

        Args:
            patience: seconds.
        """
        for each in self._all:
            each.end()
        until = time.monotonic() + patience
        for each in self._all:
            each.wait(max(0.0, until - time.monotonic()))


def about_run(folder: Path, config: Mapping[str, Any]) -> About:
    """What trackers are told of the run in a folder, which a sweep may hold."""
    place = folder.resolve()
    sweep = next((up for up in place.parents[:2] if (up / _SWEEP).is_file()), None)
    return About(place.name, sweep.name if sweep else "", dict(config), folder, "")


_SWEEP = "sweep.json"
