"""Where the time of a run went, from its first process to its last.

Rows of `timing.jsonl` beside those of the steps: each has the sums since the run began.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from resseg.runs import layout
from resseg.runs.json_files import JsonLines, read_lines

ACCOUNTS = {
    "start": "before the first step: imports, data set, network, checkpoint",
    "compile": "until the first step of a process was done",
    "data": "waiting for a batch",
    "step": "handing steps to the device",
    "wait": "waiting for the device to end them",
    "log": "writing rows and drawing figures",
    "save": "checkpoints",
    "evaluate": "evaluations, with what they compile",
    "offline": "between the processes of the run",
}
_PREFIX = "spent_"


class Ledger(NamedTuple):
    """The time of a run.

    Attributes:
        began, until: seconds since the epoch.
        spent: seconds by name, see `ACCOUNTS`.
    """

    began: float
    until: float
    spent: dict[str, float]

    @property
    def wall(self) -> float:
        """Seconds from its beginning on."""
        return max(self.until - self.began, 1e-9)

    @property
    def named(self) -> float:
        """The share of them that has a name."""
        return min(sum(self.spent.values()) / self.wall, 1.0)

    def largest(self, most: int = len(ACCOUNTS)) -> str:
        """ "wait 81 %, evaluate 12 %": the shares of 1 % or more, largest first."""
        shares = [(value / self.wall, name) for name, value in self.spent.items()]
        kept = [each for each in sorted(shares, reverse=True) if each[0] >= 0.005]
        return ", ".join(f"{name} {share:.0%}" for share, name in kept[:most])

    def row(self) -> dict[str, float]:
        """As it stands in `timing.jsonl`."""
        spent = {f"{_PREFIX}{name}": value for name, value in self.spent.items()}
        return {"began": self.began, "until": self.until, **spent}


def add_row(workdir: str | os.PathLike, step: int, ledger: Ledger) -> None:
    """Adds a row to the file of a run that nobody writes any more."""
    lines = JsonLines(Path(workdir) / layout.TIMING, None)
    lines.write({"step": step, **ledger.row()})
    lines.close()


def is_ledger(row: Mapping[str, Any]) -> bool:
    """Whether a row of `timing.jsonl` is one of a ledger."""
    return "until" in row


def read_ledger(workdir: str | os.PathLike) -> Ledger | None:
    """That of a run so far; None of one that kept none."""
    rows = [r for r in read_lines(Path(workdir) / layout.TIMING) if is_ledger(r)]
    if not rows:
        return None
    last = rows[-1]
    spent = {
        name.removeprefix(_PREFIX): value
        for name, value in last.items()
        if name.startswith(_PREFIX)
    }
    return Ledger(last["began"], last["until"], spent)


def read_pace(workdir: str | os.PathLike) -> list[dict[str, Any]]:
    """The rows of `timing.jsonl` that say how fast steps were."""
    rows = read_lines(Path(workdir) / layout.TIMING)
    return [row for row in rows if not is_ledger(row)]
