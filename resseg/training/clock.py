"""What a training does at a moment, and for how long it has done it.

Its ledger is made of that, and the watchdog reads it.
"""

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

from resseg.runs import RunWriter
from resseg.runs.ledger import ACCOUNTS, Ledger, read_ledger

OTHER = "other"  # time that has no name
EVERY = 10.0  # seconds between rows of a ledger while steps are made


class Times:
    """Writes the ledger of a run.

    Args:
        clock: of this process.
        earlier: what processes before left.
        writer: of the run folder.
    """

    def __init__(self, clock: "Clock", earlier: Ledger | None, writer: RunWriter):
        self.clock = clock
        self._earlier, self._writer, self._written = earlier, writer, time.monotonic()

    def write(self, step: int) -> None:
        """Adds a row, after so many steps."""
        self._writer.write_ledger(step, self.clock.ledger(self._earlier))
        self._written = time.monotonic()

    def write_if_due(self, step: int) -> None:
        """Likewise, but not often."""
        if time.monotonic() - self._written >= EVERY:
            self.write(step)


class Clock:
    """Counts the time of one training in one process.

    Args:
        age: seconds that it has taken already.

    Attributes:
        at: what it does now, one of `ACCOUNTS` or `OTHER`.
        beats: grows with each thing that is done: a batch, a step, a save.
    """

    def __init__(self, age: float = 0.0):
        self.at, self.beats = "start", 0
        self._earlier: dict[Path, Ledger | None] = {}
        self._spent = dict.fromkeys((*ACCOUNTS, OTHER), 0.0)
        self._wall, self._since = time.time() - age, time.monotonic() - age

    def switch(self, name: str) -> None:
        """From now on it does something else."""
        now = time.monotonic()
        self._spent[self.at] += now - self._since
        self.at, self._since = name, now
        self.beats += 1

    @contextlib.contextmanager
    def on(self, name: str) -> Iterator[None]:
        """It does this while the context lasts."""
        before = self.at
        self.switch(name)
        try:
            yield
        finally:
            self.switch(before)

    def earlier(self, folder: Path) -> Ledger | None:
        """What processes before this one left in a run folder.

        Ask before the log is cut; a run that goes back to a checkpoint asks again.
        """
        if folder not in self._earlier:
            self._earlier[folder] = read_ledger(folder)
        return self._earlier[folder]

    def ledger(self, earlier: Ledger | None) -> Ledger:
        """That of a run, of which `earlier` is what processes before left."""
        self.switch(self.at)
        spent = {name: self._spent[name] for name in ACCOUNTS}
        began, until = self._wall, self._wall + sum(self._spent.values())
        if earlier is None:
            return Ledger(began, until, spent)
        spent = {name: spent[name] + earlier.spent.get(name, 0.0) for name in spent}
        spent["offline"] += max(self._wall - earlier.until, 0.0)
        return Ledger(earlier.began, until, spent)
