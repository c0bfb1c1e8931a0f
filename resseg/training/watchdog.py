"""Ends a process whose training has stopped to get on, and says what it waited for."""

import contextlib
import faulthandler
import sys
import threading
import time
from collections.abc import Callable, Iterator

from resseg.console import duration
from resseg.training.clock import Clock
from resseg.training.stops import STALLED

_WAITED_FOR = {
    "data": "a batch of the data workers",
    "step": "the device to take a step",
    "wait": "the device to end a step",
    "log": "the log to be written",
    "save": "a checkpoint to be saved",
    "evaluate": "a batch of the evaluation",
}
_LOOKS = 20  # in the time that is too long


@contextlib.contextmanager
def watching(
    clock: Clock,
    seconds: float | None,
    leave: Callable[[int, str], None] | None,
    say: Callable[[str], None],
    waits_for: Callable[[], str] = str,
) -> Iterator[None]:
    """Ends the process where nothing has been done for so many seconds.

    Compiling may take as long as it does, which is said each time that it has taken so
    long again. A process that was held for a while, as by a terminal, did not stall.

    Args:
        clock: of the training.
        seconds: that are too long; None = none are.
        leave: ends the process; called with `STALLED` and a line. None = nobody can.
        say: called with lines for people.
        waits_for: names the other processes that it waits for, if any.
    """
    if seconds is None or leave is None:
        yield
        return
    over = threading.Event()
    arguments = (over, clock, seconds, leave, say, waits_for)
    thread = threading.Thread(target=_watch, args=arguments, name="watchdog")
    thread.daemon = True
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _watch(
    over: threading.Event,
    clock: Clock,
    seconds: float,
    leave: Callable[[int, str], None],
    say: Callable[[str], None],
    waits_for: Callable[[], str],
) -> None:
    look = seconds / _LOOKS
    beats, waited, before = clock.beats, 0.0, time.monotonic()
    while not over.wait(look):
        now = time.monotonic()
        waited += min(now - before, 2 * look)
        before = now
        if clock.beats != beats:
            beats, waited = clock.beats, 0.0
        elif waited >= seconds and clock.at in _WAITED_FOR:
            _end(waits_for() or _WAITED_FOR[clock.at], waited, leave)
            return
        elif waited >= seconds:
            say(f"{duration(waited)} more without a step: {clock.at}")
            waited = 0.0


def _end(what: str, waited: float, leave: Callable[[int, str], None]) -> None:
    line = f"stalled: waited {duration(waited)} for {what}"
    # Where the disk of the log is what does not answer, the line may never end.
    threading.Timer(30.0, leave, [STALLED, line]).start()
    sys.stderr.flush()
    faulthandler.dump_traceback(sys.stderr, all_threads=True)
    leave(STALLED, line)
