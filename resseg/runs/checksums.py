"""Checksums of a checkpoint: orbax has none of what it writes.

They are written once a checkpoint is whole. One without them was saved by an earlier
version, or its process was killed right after the save; it is taken as it is.
"""

import hashlib
import os
from pathlib import Path

from resseg.errors import naming
from resseg.runs import layout
from resseg.runs.damage import Damaged, faults_sorted


def write_checksums(saved: Path) -> None:
    """Reads every file of a checkpoint back and writes down what it holds."""
    lines = [f"{_digest(saved / name)}  {name}\n" for name in _files(saved)]
    partial = saved.parent / f".{saved.name}.{layout.CHECKSUMS}"
    with naming(partial), open(partial, "w", encoding="utf-8") as file:
        file.writelines(lines)
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, saved / layout.CHECKSUMS)


def check_checksums(saved: Path) -> None:
    """That a checkpoint holds what was written, where that was written down.

    Raises:
        Damaged: a file is missing or holds something else.
        UserError: the system refuses to read one.
    """
    with faults_sorted(saved):
        try:
            listed = (saved / layout.CHECKSUMS).read_text("utf-8").splitlines()
        except FileNotFoundError:
            return
        for line in listed:
            digest, _, name = line.partition("  ")
            if digest != _digest(saved / name):
                raise Damaged(f"{name}: other content than was saved")
        if len(listed) < len(_files(saved)):
            raise Damaged(f"{layout.CHECKSUMS}: lists fewer files than there are")


def _files(saved: Path) -> list[str]:
    names = [
        path.relative_to(saved).as_posix()
        for path in saved.rglob("*")
        if path.is_file() and path.name != layout.CHECKSUMS
    ]
    return sorted(names)


def _digest(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
