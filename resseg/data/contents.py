"""What a split holds, as one number that is equal for equal images, masks and names."""

import contextlib
import hashlib
import os
import tempfile
from pathlib import Path

from resseg.data.records import Examples

_DIGITS = 16  # hexadecimal, of the digest of an image


def digest(source: Examples) -> str:
    """SHA-256 over the stored name, image and mask of every record, in order.

    Args:
        source: a split, as `resseg.data.sources.open_split` returns it.

    Raises:
        UserError: a record cannot be read.
    """
    whole = hashlib.sha256()
    for index in range(len(source)):
        for field in source.stored(index):
            whole.update(len(field).to_bytes(8, "big"))
            whole.update(field)
    return whole.hexdigest()


def image_digests(source: Examples) -> list[str]:
    """The beginning of the SHA-256 of every stored image, in order.

    Raises:
        UserError: a record cannot be read.
    """
    stored = (source.stored(index)[1] for index in range(len(source)))
    return [hashlib.sha256(image).hexdigest()[:_DIGITS] for image in stored]


def load(file: Path) -> str | None:
    """A digest that `store` kept, or None where there is none."""
    try:
        text = file.read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return None
    return text if len(text) == hashlib.sha256().digest_size * 2 else None


def load_image_digests(file: Path, count: int) -> list[str] | None:
    """Those that `store` kept one per line, or None where they are not `count`."""
    try:
        lines = file.read_text(encoding="ascii").split()
    except (OSError, ValueError):
        return None
    return lines if len(lines) == count else None


def store(file: Path, value: str) -> None:
    """Keeps digests; they only save time, so a folder that is read-only is fine."""
    with contextlib.suppress(OSError):
        # Two processes that read at once must not see each other's half.
        descriptor, partial = tempfile.mkstemp(dir=file.parent)
        with os.fdopen(descriptor, "w", encoding="ascii") as stream:
            stream.write(f"{value}\n")
        os.replace(partial, file)
