"""One process trains in a run folder at a time."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from resseg.errors import UserError
from resseg.runs import layout

try:
    import fcntl
except ImportError:  # not a Unix system: there, nobody is kept out
    fcntl = None


@contextlib.contextmanager
def locked(workdir: str | os.PathLike) -> Iterator[None]:
    """Holds the folder while the context lasts; the system lets go if we are killed.

    Raises:
        UserError: Another process holds it.
    """
    folder = Path(workdir)
    with open(folder / layout.LOCK, "a") as file:
        if fcntl is not None:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise UserError(
                    f"--workdir {folder}: another process is training in it"
                ) from error
        yield


def is_locked(workdir: str | os.PathLike) -> bool:
    """Whether a process trains in the folder now; False where nobody can tell.

    It asks the system which locks there are, and takes none itself: a training that
    starts at this moment must not be kept out by somebody who looks.
    """
    try:
        status = os.stat(Path(workdir) / layout.LOCK)
        table = Path("/proc/locks").read_text(encoding="ascii")
    except OSError:
        return False
    held = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}"
    return any(
        line.split()[1] == "FLOCK" and line.split()[-3] == f"{held}:{status.st_ino}"
        for line in table.splitlines()
        if "->" not in line  # one that waits
    )
