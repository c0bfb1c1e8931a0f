"""What is seen of label files before they are read, so that their format is found."""

import re
from pathlib import Path
from typing import NamedTuple

from resseg.data.labels.places import files_below
from resseg.errors import UserError

_LOOKED_AT = 1 << 16  # bytes at either end of a file
_KEY = re.compile(rb'"(\w+)"\s*:')
_ROOT = re.compile(rb"<([A-Za-z_][\w.-]*)")


class Evidence(NamedTuple):
    """What is seen.

    Attributes:
        path: as the user gave it.
        suffixes: of the files, in small letters.
        keys: of the first JSON file, at any depth.
        root: name of the root element of the first XML file.
        start: first bytes of the file, or of the first one of a folder.
    """

    path: Path
    suffixes: frozenset[str]
    keys: frozenset[str]
    root: str
    start: bytes

    def has(self, *names: str) -> bool:
        """Whether a folder holds all of these files or folders."""
        return all((self.path / name).exists() for name in names)


def look_at(path: Path) -> Evidence:
    """Looks at a file, or at the first file of each kind below a folder.

    Raises:
        UserError: there is nothing, or it cannot be read.
    """
    if path.is_dir():
        first: dict[str, Path] = {}
        for file in files_below(path, ("",)):
            first.setdefault(file.suffix.lower(), file)
    elif path.is_file():
        first = {path.suffix.lower(): path}
    else:
        raise UserError(f"--labels {path}: no such file or folder")
    if not first:
        raise UserError(f"--labels {path}: holds no file")
    keys = _ends(first[".json"]) if ".json" in first else b""
    keys += _ends(first[".geojson"]) if ".geojson" in first else b""
    root = _ROOT.search(_ends(first[".xml"])) if ".xml" in first else None
    return Evidence(
        path,
        frozenset(first),
        frozenset(key.decode() for key in _KEY.findall(keys)),
        root[1].decode() if root else "",
        _ends(next(iter(first.values()))),
    )


def _ends(path: Path) -> bytes:
    """The first and the last bytes of a file."""
    try:
        with path.open("rb") as file:
            start = file.read(_LOOKED_AT)
            file.seek(max(file.seek(0, 2) - _LOOKED_AT, len(start)))
            return start + file.read()
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None
