"""Who trains in a run folder: locks of the system, which a killed process lets go of.

Two files of a folder are locked: `lock` by the process that trains, `claim` by the
worker of a sweep that is at the run.
"""

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from resseg.errors import UserError
from resseg.runs import layout

try:
    import fcntl
except ImportError:  # not a Unix system: there, nobody is kept out
    fcntl = None

_TRIES, _LOOK = 3, 0.01  # seconds between tries, far longer than a look takes


@contextlib.contextmanager
def locked(workdir: str | os.PathLike) -> Iterator[None]:
    """Holds the folder while the context lasts.

    Raises:
        UserError: Another process holds it.
    """
    with _holding(Path(workdir) / layout.LOCK) as ours:
        if not ours:
            raise UserError(f"--workdir {workdir}: another process is training in it")
        yield


@contextlib.contextmanager
def claimed(workdir: str | os.PathLike) -> Iterator[bool]:
    """Whether the claim of the folder is ours while the context lasts.

    It is not where another process holds it.
    """
    with _holding(Path(workdir) / layout.CLAIM) as ours:
        yield ours


def is_locked(workdir: str | os.PathLike) -> bool:
    """Whether a process trains in the folder now."""
    return _is_held(Path(workdir) / layout.LOCK)


def is_claimed(workdir: str | os.PathLike) -> bool:
    """Whether a worker of a sweep is at the run now."""
    return _is_held(Path(workdir) / layout.CLAIM)


@contextlib.contextmanager
def _holding(path: Path) -> Iterator[bool]:
    """Whether the lock is ours while the context lasts. The file stays."""
    with open(path, "a") as file:
        # One that only looks whether the lock is held shares it for an instant.
        yield _lock(file, shared=False, tries=_TRIES)


def _is_held(path: Path) -> bool:
    """Whether a process holds the lock; False where the file may not be looked at."""
    try:
        with open(path) as file:
            return not _lock(file, shared=True)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return False


def _lock(file: IO, *, shared: bool, tries: int = 1) -> bool:
    """Takes the lock of an open file, which closing it gives back."""
    if fcntl is None:
        return True
    kind = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    for _ in range(tries):
        try:
            fcntl.flock(file, kind | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            time.sleep(_LOOK)
    return False
