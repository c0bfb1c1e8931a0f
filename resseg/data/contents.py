"""What a split holds, as one number that is equal for equal images, masks and names."""

import contextlib
import hashlib
import os
import tempfile
from pathlib import Path

from resseg.data.records import Examples


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


def load(file: Path) -> str | None:
    """A digest that `store` kept, or None where there is none."""
    try:
        text = file.read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return None
    return text if len(text) == hashlib.sha256().digest_size * 2 else None


def store(file: Path, value: str) -> None:
    """Keeps a digest; it only saves time, so a folder that is read-only is fine."""
    with contextlib.suppress(OSError):
        # Two processes that read at once must not see each other's half.
        descriptor, partial = tempfile.mkstemp(dir=file.parent)
        with os.fdopen(descriptor, "w", encoding="ascii") as stream:
            stream.write(f"{value}\n")
        os.replace(partial, file)
