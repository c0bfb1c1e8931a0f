"""Ctrl-C ends a command soon, whatever the libraries below it are doing.

Python raises KeyboardInterrupt in the main thread alone, so it waits while that thread
compiles; and where it strikes in a callback of the garbage collector it is lost. Once
it has arrived, ending the interpreter under threads of XLA can crash.
"""

import multiprocessing
import os
import signal
import sys
import threading
from types import FrameType
from typing import NoReturn

STATUS = 130  # of a process that SIGINT ended, as shells say it
GRACE = 3.0  # seconds to close files before the process ends all the same
_in_order = threading.Event()


def watch() -> None:
    """From now on SIGINT ends the process, after `GRACE` at the latest.

    A second one ends it at once. Call it once, from the main thread.
    """
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.signal(signal.SIGINT, _interrupt)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    threading.Thread(target=_wait, args=(reader,), daemon=True).start()


def ends_in_order() -> None:
    """What SIGINT ended is done: the process ends by itself, in its own time.

    For commands that Ctrl-C is the way to end. On a busy machine an interpreter alone
    can take longer than `GRACE` to go.
    """
    _in_order.set()


def leave() -> NoReturn:
    """Ends the process, with all that it started, without tearing anything down."""
    if sys.stdout.isatty():
        sys.stdout.write("\x1b[?25h")  # a live bar hides the cursor
    print("resseg: interrupted", file=sys.stderr)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    for child in multiprocessing.active_children():
        child.kill()
    os._exit(STATUS)


def _interrupt(number: int, frame: FrameType | None) -> None:
    # In a callback of the garbage collector it would be printed, and lost.
    if frame is None or not frame.f_code.co_name.endswith("gc_callback"):
        raise KeyboardInterrupt


def _late() -> None:
    if not _in_order.is_set():
        leave()


def _wait(reader: int) -> None:
    while os.read(reader, 1) != bytes([signal.SIGINT]):
        pass
    timer = threading.Timer(GRACE, _late)
    timer.daemon = True
    timer.start()
    while os.read(reader, 1) != bytes([signal.SIGINT]):
        pass
    leave()
