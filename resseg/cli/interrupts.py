"""Ctrl-C ends a command soon, whatever the libraries below it are doing.

Python raises KeyboardInterrupt in the main thread alone, so it waits while that thread
compiles; and where it strikes in a callback of the garbage collector it is lost. Once
it has arrived, ending the interpreter under threads of XLA can crash. Commands that
train are asked to stop instead, see `resseg.training.stops`, and so is SIGTERM heard.
"""

import multiprocessing
import os
import signal
import sys
import threading
from types import FrameType
from typing import NoReturn

from resseg.training.stops import STOPPING, Stop, listen

STATUS = 130  # of a process that SIGINT ended, as shells say it
GRACE = 3.0  # seconds to close files before the process ends all the same
_in_order = threading.Event()
_watching = threading.Event()


def watch() -> None:
    """From now on SIGINT ends the process, after `GRACE` at the latest.

    A second one ends it at once. Call it once, from the main thread.
    """
    _watching.set()
    listen([signal.SIGINT], _Watch().heard, _interrupt)


def stop_in_order() -> Stop:
    """From now on SIGINT and SIGTERM ask for a stop, where `watch` was called."""
    if not _watching.is_set():
        return Stop()
    stop = Stop(_leave_asked)
    listen(STOPPING, stop.ask)
    return stop


def ends_in_order() -> None:
    """What SIGINT ended is done: the process ends by itself, in its own time.

    For commands that Ctrl-C is the way to end. On a busy machine an interpreter alone
    can take longer than `GRACE` to go.
    """
    _in_order.set()


def leave(status: int = STATUS, said: str = "interrupted") -> NoReturn:
    """Ends the process, with all that it started, without tearing anything down."""
    if sys.stdout.isatty():
        sys.stdout.write("\x1b[?25h")  # a live bar hides the cursor
    if said:
        print(f"resseg: {said}", file=sys.stderr)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    for child in multiprocessing.active_children():
        child.kill()
    os._exit(status)


class _Watch:
    """What SIGINT does to a command that is not asked to stop."""

    def __init__(self):
        self._once = False

    def heard(self, _: int) -> None:
        if self._once:
            leave()
        self._once = True
        timer = threading.Timer(GRACE, _late)
        timer.daemon = True
        timer.start()


def _leave_asked(status: int, line: str) -> None:
    if status == 0:
        print(line)
        leave(status, "")
    leave(status, line)


def _interrupt(number: int, frame: FrameType | None) -> None:
    # In a callback of the garbage collector it would be printed, and lost.
    if frame is None or not frame.f_code.co_name.endswith("gc_callback"):
        raise KeyboardInterrupt


def _late() -> None:
    if not _in_order.is_set():
        leave()
