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
