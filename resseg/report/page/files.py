"""Where a page is written to."""

import os
from pathlib import Path

from resseg import text
from resseg.errors import UserError


def write(path: Path, content: str) -> None:
    """The file, whole or not at all: somebody may be looking at it.

    Raises:
        UserError: the system refuses.
    """
    partial = path.with_name(f".{path.name}.partial")
    try:
        text.write(partial, content)
        os.replace(partial, path)
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror}") from error
