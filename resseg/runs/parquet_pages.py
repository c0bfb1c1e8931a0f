"""How large the pages of a parquet file say they are, from their headers alone.

The footer of a file says it too, but nothing compares the two: what is unpacked is what
the headers say. They are Thrift's compact protocol, whose first fields are enough.
"""

from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

import pyarrow as pa

_LONGEST = 1 << 14  # bytes of a header
_UNPACKED, _PACKED = 2, 3  # fields of `PageHeader` in parquet.thrift
_BOOLEANS, _INTEGERS, _BYTE, _DOUBLE = (1, 2), (4, 5, 6), 3, 7
_BINARY, _LISTS, _MAP, _STRUCT = 8, (9, 10), 11, 12


class Page(NamedTuple):
    """Bytes of a page, unpacked and as it lies in the file."""

    unpacked: int
    packed: int


def pages(file: BinaryIO, start: int, size: int) -> Iterator[Page]:
    """The pages of one column in one group of rows.

    Args:
        file: the parquet file.
        start: where the first header begins.
        size: bytes of all of them.

    Raises:
        ArrowInvalid: a header is damaged.
    """
    at, end = start, start + size
    while at < end:
        file.seek(at)
        header = _Reader(file.read(_LONGEST))
        try:
            fields = header.fields()
            page = Page(fields[_UNPACKED], fields[_PACKED])
        except (IndexError, KeyError, RecursionError) as error:
            raise pa.ArrowInvalid(f"header of a page at byte {at}") from error
        if min(page) < 0:
            raise pa.ArrowInvalid(f"size of a page at byte {at}")
        yield page
        at += header.at + page.packed


class _Reader:
    """Reads one struct; of its fields it keeps the integers."""

    def __init__(self, content: bytes):
        self._content = content
        self.at = 0

    def fields(self) -> dict[int, int]:
        found, number = {}, 0
        while head := self._byte():
            step, kind = divmod(head, 16)
            number = number + step if step else self._integer()
            value = self._value(kind)
            if kind in _INTEGERS:
                found[number] = value
        return found

    def _value(self, kind: int) -> int:
        if kind in _INTEGERS:
            return self._integer()
        if kind in _LISTS:
            size, kind = divmod(self._byte(), 16)
            self._skip([kind] * (self._count() if size == 15 else size))
        elif kind == _MAP:
            if size := self._count():
                self._skip([*divmod(self._byte(), 16)] * size)
        elif kind == _STRUCT:
            self.fields()
        elif kind not in _BOOLEANS:
            self._advance({_BYTE: 1, _DOUBLE: 8}.get(kind) or self._length(kind))
        return 0

    def _skip(self, kinds: list[int]) -> None:
        for kind in kinds:  # a boolean takes a byte here
            self._value(_BYTE if kind in _BOOLEANS else kind)

    def _length(self, kind: int) -> int:
        if kind != _BINARY:
            raise KeyError(kind)
        return self._varint()

    def _count(self) -> int:
        count = self._varint()
        if count > _LONGEST:
            raise IndexError
        return count

    def _advance(self, size: int) -> None:
        self.at += size
        if self.at > len(self._content):
            raise IndexError

    def _byte(self) -> int:
        byte = self._content[self.at]
        self.at += 1
        return byte

    def _varint(self) -> int:
        value, shift = 0, 0
        while True:
            byte = self._byte()
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    def _integer(self) -> int:
        value = self._varint()
        return value >> 1 ^ -(value & 1)
