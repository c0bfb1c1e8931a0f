"""The process of a worker: where its output goes, what it takes, and how it ends."""

import contextlib
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TextIO

PATIENCE = 60.0  # seconds in which a worker that is told to end can save its runs
_HUNG_UP = 129  # as shells say it of a process that SIGHUP ended


@contextlib.contextmanager
def output_to(file: Path) -> Iterator[None]:
    """All that the process prints goes to the end of a file, of its libraries too."""
    with contextlib.ExitStack() as restored:
        log = restored.enter_context(_line_by_line(file))
        for stream, number in ((sys.stdout, 1), (sys.stderr, 2)):
            stream.flush()
            kept = os.dup(number)
            restored.callback(os.close, kept)
            restored.callback(os.dup2, kept, number)
            os.dup2(log.fileno(), number)
        restored.enter_context(contextlib.redirect_stdout(log))
        restored.enter_context(contextlib.redirect_stderr(log))
        yield


def _line_by_line(file: Path) -> TextIO:
    return open(file, "a", buffering=1, encoding="utf-8", errors="backslashreplace")


def reset_peak_memory() -> None:
    """From now on `peak_memory` counts anew, where the system allows it."""
    # Linux keeps the peak of a process; this makes it begin again.
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak_memory() -> int | None:
    """Bytes of this process; None where the system does not say."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return None


def hear_parent_end(heard: Callable[[], object]) -> None:
    """Calls `heard` when the standard input ends: its other end is held by the parent.

    `PATIENCE` seconds later the process ends in any case.
    """

    def wait() -> None:
        while os.read(0, 1):
            pass
        heard()
        time.sleep(PATIENCE)
        os._exit(_HUNG_UP)

    threading.Thread(target=wait, daemon=True).start()
