"""What the arrays of a checkpoint unpack to: known before room is made for it.

An array says how large it is, and is taken at its word: a kilobyte can ask for more
than any machine has, and TensorStore then ends the process. So each has to be backed by
what is stored, or by an array of that size in the network that it is for.
"""

import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

import jax
import pyarrow as pa

from resseg.text import parse_json

DESCRIPTION = ".zarray"  # the key of what says how large an array is
_MOST_UNPACKED, _SMALL = 20, 64 << 20  # times what is stored, and bytes
_PIECE = 1 << 20  # bytes that are unpacked at a time
_TYPES = re.compile(
    r"[<>|][bifuc](?P<bytes>\d{1,2})|(?P<small>(bfloat|float|u?int)\w+)"
)


class Arrays:
    """The arrays of one item, from what describes them.

    Args:
        descriptions: the content of each `.zarray`, by its key.

    Raises:
        ValueError: one is not as orbax writes it for us.
    """

    def __init__(self, descriptions: Mapping[str, bytes]):
        self._chunks: dict[str, int] = {}  # bytes of a chunk, by array
        self._packed: dict[str, bool] = {}
        self._declared = 0
        for key, content in descriptions.items():
            name = key.removesuffix(f"/{DESCRIPTION}")
            try:
                self._add(name, parse_json(content))
            except (KeyError, TypeError, ValueError) as error:
                raise ValueError(f"{key}: no description of an array") from error

    def _add(self, name: str, said: Mapping[str, Any]) -> None:
        found = _TYPES.fullmatch(said["dtype"])
        if found is None:
            raise ValueError("type")
        size = int(found["bytes"] or 2)
        shape, chunks = said["shape"], said["chunks"]
        for length, part in zip(shape, chunks, strict=True):
            if not 0 <= part <= max(length, 1):
                raise ValueError("chunks")
        if said["compressor"] is not None and said["compressor"]["id"] != "zstd":
            raise ValueError("compressor")
        self._chunks[name] = math.prod(chunks) * size
        self._packed[name] = said["compressor"] is not None
        self._declared += math.prod(shape) * size

    def check_backed(self, stored: int, wanted: Any) -> None:
        """That all of them together are about as large as they may be.

        Args:
            stored: bytes of their chunks.
            wanted: the tree that they are to be restored to; a part of it, or None.

        Raises:
            ValueError: they are larger.
        """
        known = sum(
            math.prod(leaf.shape) * leaf.dtype.itemsize
            for leaf in jax.tree.leaves(wanted)
        )
        if self._declared > known + _MOST_UNPACKED * stored + _SMALL:
            raise ValueError(
                f"{stored >> 10:,} KiB that would unpack to {self._declared >> 20:,} "
                "MiB; no weights are as alike as that"
            )

    def check_unpacks(self, key: str, value: bytes) -> None:
        """That a chunk holds what its array says; a bomb is unpacked no further.

        Raises:
            ValueError: it does not.
        """
        name = key.rpartition("/")[0]
        if name not in self._chunks:
            raise ValueError(f"{key}: of no array")
        wanted, size = self._chunks[name], 0
        for size in _unpacked(value) if self._packed[name] else [len(value)]:
            if size > wanted:
                break
        if size != wanted:
            raise ValueError(f"{key}: other size than {wanted} bytes")


def _unpacked(value: bytes) -> Iterable[int]:
    """How many bytes there are so far, piece by piece."""
    size = 0
    with pa.CompressedInputStream(pa.BufferReader(value), "zstd") as stream:
        while piece := len(stream.read(_PIECE)):
            size += piece
            yield size
