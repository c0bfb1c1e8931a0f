"""Files of a cache: what was written whole by this user, or nothing.

What an entry holds is code that this process will run. So an entry is read from a
folder that is the user's own and closed to all others, through the folder itself, so
that nobody puts another in its place; and it carries a digest, without which nothing of
it is looked at.
"""

import contextlib
import hashlib
import json
import os
import secrets
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from resseg.programs import place

_MAGIC = b"resseg program 1\n"
_DIGEST = hashlib.sha256().digest_size
_LENGTH = 8  # bytes that say how long the key is

Key = Mapping[str, Any]  # what an entry is of and holds for, ready for JSON


class Damaged(Exception):
    """A file is no entry, or no longer."""


class Entries:
    """The entries of one folder.

    Nothing that is wrong with a folder or an entry is an error: it is not there then.

    Args:
        folder: the one that JAX knows; entries lie in a folder of it.
    """

    def __init__(self, folder: Path):
        self._whole, self._folder = folder, folder / place.OWN

    def read(self, key: Key) -> bytes | None:
        """What was written for this key; None where there is nothing.

        Raises:
            Damaged: there is something else. It is removed.
        """
        name = _name(key)
        try:
            with self._opened() as folder:
                content = _read(name, folder)
        except OSError:
            return None
        try:
            return unpacked(content, key)
        except Damaged as damage:
            self.remove(key)
            raise Damaged(f"{self._folder / name}: {damage}") from damage

    def write(self, key: Key, content: bytes) -> None:
        """Keeps `content`, whole or not at all, and the folder within its bound."""
        with contextlib.suppress(OSError):
            self._folder.parent.mkdir(parents=True, exist_ok=True)
            self._folder.mkdir(mode=0o700, exist_ok=True)
            with self._opened() as folder:
                _write(_name(key), packed(key, content), folder)
            place.trim(self._whole)

    def remove(self, key: Key) -> None:
        """Forgets what was written for this key."""
        with contextlib.suppress(OSError), self._opened() as folder:
            os.unlink(_name(key), dir_fd=folder)

    @contextlib.contextmanager
    def _opened(self) -> Iterator[int]:
        """The folder, which nobody else can have put there or can write to."""
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
        folder = os.open(self._folder, flags)
        try:
            if not place.is_private(os.fstat(folder)):
                raise PermissionError(f"{self._folder} is open to others")
            yield folder
        finally:
            os.close(folder)


def packed(key: Key, content: bytes) -> bytes:
    """An entry as it is stored: magic, digest of all that follows, key, content."""
    text = _text(key)
    rest = len(text).to_bytes(_LENGTH, "big") + text + content
    return _MAGIC + hashlib.sha256(rest).digest() + rest


def unpacked(entry: bytes, key: Key) -> bytes:
    """The content of an entry.

    Raises:
        Damaged: it is not what `packed` made with this key.
    """
    start = len(_MAGIC) + _DIGEST
    if not entry.startswith(_MAGIC) or len(entry) < start + _LENGTH:
        raise Damaged("no program of resseg")
    rest = memoryview(entry)[start:]
    if hashlib.sha256(rest).digest() != entry[len(_MAGIC) : start]:
        raise Damaged("its bytes have changed")
    end = _LENGTH + int.from_bytes(rest[:_LENGTH], "big")
    if rest[_LENGTH:end] != _text(key):
        raise Damaged("it is of something else")
    return bytes(rest[end:])


def _read(name: str, folder: int) -> bytes:
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK  # a pipe would never end
    with open(os.open(name, flags, dir_fd=folder), "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode) or not place.is_private(status):
            raise PermissionError(f"{name} is no file of this user alone")
        os.utime(file.fileno())  # what is used stays longest
        return file.read()


def _write(name: str, entry: bytes, folder: int) -> None:
    partial = f"{secrets.token_hex(8)}.partial"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    try:
        with open(os.open(partial, flags, 0o600, dir_fd=folder), "wb") as file:
            file.write(entry)
        os.replace(partial, name, src_dir_fd=folder, dst_dir_fd=folder)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(partial, dir_fd=folder)
        raise


def _name(key: Key) -> str:
    return f"{hashlib.sha256(_text(key)).hexdigest()}.program"


def _text(key: Key) -> bytes:
    return json.dumps(key, sort_keys=True).encode()
