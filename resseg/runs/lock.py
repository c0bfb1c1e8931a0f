"""Who trains in a run folder: locks of the system, which a killed process lets go of.

Two files of a folder are locked: `lock` by the process that trains, `claim` by the
worker of a sweep that is at the run. A file says who holds it, by host and process, and
nothing once it is let go of: what stands in a file that is not locked is of a process
that was killed. Where it was on another host, the lock may be one that file systems do
not share; then the holder shows that it lives by touching the file.
"""

import contextlib
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Event, Thread
from typing import IO, NamedTuple

from resseg.errors import UserError, naming
from resseg.runs import layout
from resseg.text import parse_json

try:
    import fcntl
except ImportError:  # not a Unix system: there, nobody is kept out
    fcntl = None

_TRIES, _LOOK = 3, 0.01  # seconds between tries, far longer than a look takes
TOUCH = 5.0  # seconds between signs of life


class Holder(NamedTuple):
    """Who holds a lock, or held it when it was killed."""

    host: str
    process: int
    since: float  # seconds since the epoch

    def __str__(self) -> str:
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(self.since))
        return f"process {self.process} on {self.host}, since {since}"


@contextlib.contextmanager
def locked(workdir: str | os.PathLike) -> Iterator[Holder | None]:
    """Holds the folder while the context lasts; gives who was killed holding it.

    Raises:
        UserError: Another process holds it; the message names it and its host.
    """
    path = Path(workdir) / layout.LOCK
    with _holding(path) as ours:
        last = _holder(path)
        if not ours or (last is not None and _lives_elsewhere(path, last)):
            who = f" ({last})" if last else ""
            raise UserError(f"--workdir {workdir}: another process trains in it{who}")
        with _signed(path):
            yield last


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


def _holder(path: Path) -> Holder | None:
    """Whom a lock file names; an empty one and one of an earlier version nobody."""
    with contextlib.suppress(ValueError, TypeError, FileNotFoundError):
        return Holder(**parse_json(path.read_bytes()))
    return None


def _lives_elsewhere(path: Path, holder: Holder) -> bool:
    """Whether the holder on another host touches the file; waits for it if need be.

    On this host, the system knows: what is not locked is not held.
    """
    if holder.host == os.uname().nodename:
        return False
    seen, end = path.stat().st_mtime_ns, time.monotonic() + 2.5 * TOUCH
    while time.monotonic() < end:
        time.sleep(TOUCH / 10)
        with open(path) as file:  # opening it asks a file server anew
            if os.fstat(file.fileno()).st_mtime_ns != seen:
                return True
    return False


@contextlib.contextmanager
def _signed(path: Path) -> Iterator[None]:
    """A lock file names us and is touched while the context lasts."""
    holder, over = Holder(os.uname().nodename, os.getpid(), time.time()), Event()
    with naming(path):
        path.write_text(json.dumps(holder._asdict()) + "\n", encoding="utf-8")

    def touch() -> None:
        while not over.wait(TOUCH):
            with contextlib.suppress(OSError):
                os.utime(path)

    thread = Thread(target=touch, name="lock", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        path.write_bytes(b"")


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
