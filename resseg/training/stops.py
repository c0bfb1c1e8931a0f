"""Training that ends when the system asks for it: nothing that was computed is lost.

The first signal lets the step at work end, saves and ends; so does an evaluation after
the batch at work, and it is made up for where the run goes on. While there is nothing
to lose, as before the first step, the process ends at once, for its main thread may
compile for minutes. A second signal never waits.
"""

import os
import signal
import threading
from collections.abc import Callable, Collection
from typing import Any

from resseg.processes.group import ALONE, Group

STOPPING = (signal.SIGINT, signal.SIGTERM)
STALLED = 75  # exit status of a process that did not get on; as sysexits.h has it
_ARRIVES = 1.0  # seconds in which a signal to a group of processes reaches them all

# Ends the process: called with the exit status and what is to be said.
Leave = Callable[[int, str], None]


class Stopped(Exception):
    """A training ended before its last step, as asked; it is saved. Says where."""

    def __init__(self, step: int, steps: int):
        super().__init__(
            f"stopped at step {step} of {steps}, which is saved; the same command goes "
            "on from there"
            if step
            else f"stopped before the first of {steps} steps; the same command begins "
            "again"
        )


class Stop:
    """Whether a training has been asked to stop.

    Args:
        leave: ends the process at once, from whatever thread; None = nobody asks.

    Attributes:
        asked: it has; where several processes train together, once `agree` has said so.
        leave: as given; the watchdog ends the process by it too.
    """

    def __init__(self, leave: Leave | None = None):
        self.asked = self._heard = False
        self.leave, self._event = leave, threading.Event()
        self._group: Group = ALONE
        self._nothing_to_lose = "stopped before it began; the same command begins again"

    def ask(self, number: int) -> None:
        """A signal has come; called in a thread of its own."""
        again, self._heard = self._heard, True
        self.asked = self.asked or self._group.processes == 1
        self._event.set()
        if self.leave is None:
            return
        if again:
            self.leave(128 + number, f"{signal.Signals(number).name} twice: ended")
        if self._nothing_to_lose:
            self.leave(0, self._nothing_to_lose)

    def join(self, group: Group) -> None:
        """From now on, all processes of a group stop where one of them was asked."""
        self._group, self.asked = group, False

    def agree(self) -> None:
        """All processes of the group call it at the same places of the training."""
        if self._group.processes > 1:
            self.asked = any(self._group.gather(self._heard))

    def has_arrived(self) -> bool:
        """`asked`, where something has just ended that the signal may have ended."""
        return self._event.wait(_ARRIVES)

    def at_once(self, line: str) -> None:
        """From now on there is nothing to lose; `line` is what is said then."""
        self._nothing_to_lose = line

    def in_order(self) -> None:
        """From now on there is something to be saved first."""
        self._nothing_to_lose = ""


def listen(
    numbers: Collection[int], heard: Callable[[int], object], handler: Any = None
) -> None:
    """Calls `heard` with each signal of `numbers`, in a thread of its own.

    Whatever the main thread does: Python's own handlers wait while it compiles. Call it
    from the main thread; a later call replaces an earlier one.

    Args:
        numbers: of the signals.
        heard: called with the number.
        handler: for Python to call too, in the main thread, as soon as that can be.
    """
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    for number in numbers:
        signal.signal(number, handler or (lambda *_: None))

    def wait() -> None:
        while True:
            (number,) = os.read(reader, 1)
            if number in numbers:
                heard(number)

    threading.Thread(target=wait, name="signals", daemon=True).start()
