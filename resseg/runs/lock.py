"""Whether somebody trains in a run folder, asked without taking its lock."""

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from resseg.errors import UserError
from resseg.runs import layout

_TABLE = Path("/proc/locks")


def is_locked(workdir: str | os.PathLike) -> bool:
    """Whether a process holds the run folder now; False where the system does not tell.

    The lock itself is left alone: a training that starts at this moment must not be
    kept out by somebody who only looks.
    """
    try:
        status = os.stat(Path(workdir) / layout.LOCK)
        table = _TABLE.read_text(encoding="ascii")
    except OSError:
        return False
    device = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}"
    held = f"{device}:{status.st_ino}"
    # 1: FLOCK  ADVISORY  WRITE 708 103:01:2049 0 EOF; one that waits has "->" in front
    lines = [line.split() for line in table.splitlines() if "->" not in line]
    return any(line[1] == "FLOCK" and line[5] == held for line in lines)


try:
    import fcntl
except ImportError:  # not a Unix system: there, nobody is kept out
    fcntl = None


_LOOK = 0.01  # seconds, far longer than a look takes


@contextlib.contextmanager
def locked(workdir: str | os.PathLike) -> Iterator[None]:
    """Holds the folder while the context lasts; the system lets go if we are killed.

    Raises:
        UserError: Another process holds it.
    """
    with claimed(workdir, layout.LOCK) as ours:
        if not ours:
            raise UserError(f"--workdir {workdir}: another process is training in it")
        yield


@contextlib.contextmanager
def claimed(workdir: str | os.PathLike, name: str = layout.CLAIM) -> Iterator[bool]:
    """Whether the lock `name` of a folder is ours while the context lasts.

    It is not where another process holds it. The file stays; the lock is the system's,
    which lets go of it when its holder ends, however it ends.
    """
    with open(Path(workdir) / name, "a") as file:
        # One that only looks whether the lock is held holds it for an instant.
        yield _try_lock(file, tries=3)


def is_claimed(workdir: str | os.PathLike, name: str = layout.CLAIM) -> bool:
    """Whether a process holds the lock `name` of a folder now."""
    path = Path(workdir) / name
    if not path.exists():
        return False
    with open(path) as file:
        return not _try_lock(file)


def _try_lock(file: IO, tries: int = 1) -> bool:
    if fcntl is None:
        return True
    for _ in range(tries):
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            time.sleep(_LOOK)
    return False
