"""Where a page is written to."""

import os
from pathlib import Path

from resseg import text
from resseg.errors import UserError


def check_out(given: str | None, default: Path) -> Path:
    """The file to write, checked before anything is computed for it.

    Raises:
        UserError: it is a folder, or its folder is missing or cannot be written to.
    """
    path = default if given is None else Path(given)
    if path.is_dir():
        raise UserError(f"--out {path}: it is a folder, expected a file")
    if not path.parent.is_dir():
        raise UserError(f"--out {path}: there is no folder {path.parent}")
    if not os.access(path.parent, os.W_OK):
        raise UserError(f"--out {path}: cannot write to {path.parent}")
    return path


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
