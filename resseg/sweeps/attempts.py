"""What became of the runs of a sweep: one file per run, written by whoever trains it.

`status.json` in the run folder lists the attempts. An attempt without an end whose
claim nobody holds was broken off: its process was killed.
"""

import os
import time
from pathlib import Path
from typing import Any, NamedTuple

from resseg import runs
from resseg.runs import layout
from resseg.runs.json_files import read_lines

FINISHED, FAILED, PREEMPTED = "finished", "failed", "preempted"
REFUSED = "refused"  # wrong input or a loss that is not finite: again would be the same
STALLED = "stalled"  # no step came for too long: the process ended itself
PARTED = "parted"  # one of several that went together failed: each is tried alone
TAIL = 3  # last lines of the log of a failed run that are shown
_NO_FAULT = (FINISHED, PREEMPTED, PARTED)


class State(NamedTuple):
    """A run as its folder says now.

    Attributes:
        word: waiting, running, finished, failed, preempted, parted or broken off.
        step: of the last row of its metrics; 0 before.
        message: why it failed.
        bad: attempts since a given time that failed or were broken off.
        final: failed for good: another attempt would fail likewise.
    """

    word: str
    step: int = 0
    message: str = ""
    bad: int = 0
    final: bool = False


def read(folder: Path, steps: int, since: float = 0.0) -> State:
    """The state of a run of `steps` steps; `since` = seconds, for `State.bad`."""
    step = last_step(folder)
    if is_finished(folder, steps):
        return State("finished", step)
    attempts = list_attempts(folder)
    claimed = runs.is_claimed(folder)
    ended = attempts[:-1] if claimed else attempts
    bad = [
        each
        for each in ended
        if each["started"] >= since and each["outcome"] not in _NO_FAULT
    ]
    if claimed:
        return State("running", step, bad=len(bad))
    if not attempts:
        return State("waiting", step)
    last = attempts[-1]
    word: str = last["outcome"] or "broken off"
    word = "broken off" if word == STALLED else word
    word = "failed" if word == REFUSED else word
    final = last["outcome"] == REFUSED and last["started"] >= since
    return State(word, step, last["message"] or "", len(bad), final)


def is_finished(folder: Path, steps: int) -> bool:
    """Whether a run has been evaluated at its last step."""
    return any(row["step"] == steps for row in runs.read_evaluations(folder))


def last_step(folder: Path) -> int:
    """The last step that a run has logged."""
    rows = read_lines(folder / layout.METRICS)
    return max((row["step"] for row in rows), default=0)


def list_attempts(folder: Path) -> list[dict[str, Any]]:
    """What `status.json` lists, first to last."""
    file = folder / layout.STATUS
    return runs.read_json(file)["attempts"] if file.exists() else []


def begin(folder: Path) -> None:
    """Notes that this process tries the run now. It must hold the claim."""
    attempt = {
        "started": time.time(),
        "ended": None,
        "outcome": None,
        "message": None,
        "host": os.uname().nodename,
        "process": os.getpid(),
    }
    _write(folder, [*list_attempts(folder), attempt])


def end(folder: Path, outcome: str, message: str = "", **more: Any) -> None:
    """Notes how the last attempt ended; `more` is what it cost."""
    *earlier, last = list_attempts(folder)
    ended = {"ended": time.time(), "outcome": outcome, "message": message or None}
    _write(folder, [*earlier, last | ended | more])


def _write(folder: Path, attempts: list[dict[str, Any]]) -> None:
    runs.write_json(folder / layout.STATUS, {"attempts": attempts})
