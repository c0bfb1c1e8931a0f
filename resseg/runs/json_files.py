"""JSON in a run folder: a file of one object, and a file of one object per line.

Files of lines are appended to, cut back after a kill, and read while they grow.
Floats are written as Python's shortest text that reads back to the same bits. JSON has
no NaN or infinity; they stand as the strings "NaN", "Infinity" and "-Infinity", which
every JSON reader takes and no one mistakes for a number.
"""

import contextlib
import json
import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from resseg import text
from resseg.errors import UserError, naming

_NOT_IN_JSON = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def write_json(path: Path, values: Mapping[str, Any]) -> None:
    """Sorted, indented, and never half a file."""
    partial = path.with_suffix(".partial")
    content = json.dumps(values, indent=2, sort_keys=True) + "\n"
    with naming(path):
        partial.write_text(content, encoding="utf-8")
    os.replace(partial, path)


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file.

    Raises:
        UserError: The file is missing or not JSON.
    """
    _check_regular(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error
    written = text.decode(content, path)
    try:
        return text.parse_json(written)
    except ValueError as error:
        raise UserError(f"{path} is not JSON: {error}") from error


@contextlib.contextmanager
def values_of(path: Path) -> Iterator[None]:
    """What does not fit within, of what was read from a file, is one line about it."""
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(
            f"{path}: holds other values than resseg writes; restore it from a copy"
        ) from error


class JsonLines:
    """Appends to the file `path`; with `keep_to`, first drops later steps from it."""

    def __init__(self, path: str | os.PathLike, keep_to: int | None):
        path = Path(path)
        if keep_to is not None and path.exists():
            _cut(path, keep_to)
        self._path = path
        self._file = open(path, "a", encoding="utf-8")  # noqa: SIM115

    def write(self, values: Mapping[str, Any]) -> None:
        """Adds one line; it reaches the operating system before this returns."""
        with naming(self._path):
            self._file.write(encode(values) + "\n")
            self._file.flush()

    def sync(self) -> None:
        """Waits until all lines are on the disk."""
        os.fsync(self._file.fileno())

    def close(self) -> None:
        with naming(self._path):
            self._file.close()


def encode(values: Mapping[str, Any]) -> str:
    """One line: the keys in the order given."""
    return json.dumps(
        {name: _to_json(value) for name, value in values.items()}, allow_nan=False
    )


def read_lines(path: str | os.PathLike) -> list[dict[str, Any]]:
    """All complete lines; the last is left out while it lacks its line break.

    Raises:
        UserError: A line that is complete is not JSON.
    """
    path = Path(path)
    if not path.exists():
        return []
    return [_decode(path, number, line) for number, line in _complete(path)]


def _check_regular(path: Path) -> None:
    """A pipe or a device of this name would be read for ever."""
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise UserError(f"{path}: expected a file, found a pipe or a device")


def _complete(path: Path) -> list[tuple[int, bytes]]:
    _check_regular(path)
    lines = path.read_bytes().split(b"\n")
    return list(enumerate(lines[:-1], start=1))


def _decode(path: Path, number: int, line: bytes) -> dict[str, Any]:
    try:
        values = text.parse_json(line)
    except ValueError as error:
        raise UserError(f"{path}, line {number}: not JSON ({error})") from error
    return {
        name: value if name == "split" else _from_json(value)
        for name, value in values.items()
    }


def _cut(path: Path, step: int) -> None:
    kept = [
        line + b"\n"
        for number, line in _complete(path)
        if _decode(path, number, line)["step"] <= step
    ]
    partial = path.with_suffix(".partial")
    with naming(path):
        partial.write_bytes(b"".join(kept))
    os.replace(partial, path)


def _to_json(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_to_json(item) for item in value]
    if isinstance(value, bool | int | str) or value is None:
        return value
    if hasattr(value, "__array__"):  # numpy and device arrays, scalars among them
        return _to_json(np.asarray(value).tolist())
    number = float(value)
    if math.isfinite(number):
        return number
    return "NaN" if math.isnan(number) else "Infinity" if number > 0 else "-Infinity"


def _from_json(value: Any) -> Any:
    if isinstance(value, list):
        return [_from_json(item) for item in value]
    return _NOT_IN_JSON.get(value, value) if isinstance(value, str) else value
