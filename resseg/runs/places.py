"""Folders of runs by names that the libraries below take as they stand.

Orbax looks for the parts of a checkpoint with a pattern that begins with the path of
the folder, and tensorstore takes only a path without `..`, links it by `/` alone and
wants UTF-8. In a folder of another name a training would end well and leave nothing
that can be read. So a path is resolved here, once, and such a name is refused before
the first step.
"""

import os
import tempfile
from pathlib import Path

from resseg.errors import UserError
from resseg.runs import layout

_PATTERN = "*?[\\"
_LONGEST = 4096 - 300  # bytes: what lies in a run folder takes the rest of a path


def resolved(folder: str | os.PathLike) -> Path:
    """Absolute, without links and without `..`.

    Raises:
        UserError: links that lead to each other.
    """
    try:
        return Path(folder).resolve()
    except (OSError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"{folder}: {reason}") from error


def check_writable(folder: str | os.PathLike) -> None:
    """That checkpoints written into a folder can be read again.

    Raises:
        UserError: its path has a character that a library takes for something else, or
            is too long for the files in it.
    """
    place, option = resolved(folder), f"--workdir {folder}"
    odd = next((mark for mark in _PATTERN if mark in str(place)), None)
    if odd is not None:
        raise UserError(
            f"{option}: {_part_with(place, odd)!r} has the character {odd!r}, which "
            "the library that writes checkpoints takes for a pattern; choose another "
            "name"
        )
    _check_text(option, place)
    length = len(os.fsencode(place))
    if length > _LONGEST:
        raise UserError(f"{option}: {length} bytes, expected at most {_LONGEST}")


def make_folder(option: str, folder: Path) -> Path:
    """Makes a folder that can be written to.

    Raises:
        UserError: the system refuses.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        reason = error.strerror or error
        raise UserError(f"{option} {folder} cannot be written to: {reason}") from error
    return folder


def check_free(folder: Path) -> None:
    """That no folder stands where a run writes a file, and no file for a folder.

    Raises:
        UserError: one does; what a run draws after its last step counts too.
    """
    pictures = folder / layout.PREDICTIONS
    overlays = [path for path in pictures.glob("**/*.png") if path.is_dir()]
    for path in (*(folder / name for name in layout.FILES), *overlays):
        if path.is_dir():
            raise UserError(f"--workdir: {path} is a folder, where a file is to go")
    for path in (folder / name for name in layout.FOLDERS):
        if path.exists() and not path.is_dir():
            raise UserError(f"--workdir: {path} is a file, where a folder is to go")


def check_readable(item: str | os.PathLike) -> Path:
    """The resolved path of what is to be read of a checkpoint.

    Raises:
        UserError: its path has what no library below can read.
    """
    place = resolved(item)
    for odd in ("\\", "**"):
        if odd in str(place):
            raise UserError(
                f"{item}: {_part_with(place, odd)!r} has {odd!r}, by which the library "
                "that reads checkpoints means something else; rename that folder"
            )
    _check_text(str(item), place)
    return place


def _part_with(place: Path, mark: str) -> str:
    return next(part for part in place.parts if mark in part)


def _check_text(named: str, place: Path) -> None:
    try:
        str(place).encode()
    except UnicodeEncodeError:
        shown = named.encode("utf-8", "backslashreplace").decode()
        raise UserError(f"{shown}: not a name in UTF-8; choose another") from None
