"""Whether a folder can still be written to."""

import os
import tempfile
from pathlib import Path

from resseg.errors import UserError

_BYTES = 1 << 18  # less than any checkpoint


def check_room(folder: Path) -> None:
    """Writes a little and takes it away.

    Raises:
        UserError: the disk is full, or the folder cannot be written to.
    """
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(bytes(_BYTES))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise UserError(
            f"{folder}: {error.strerror}; what is finished is kept: make room and "
            "start the sweep again"
        ) from error
