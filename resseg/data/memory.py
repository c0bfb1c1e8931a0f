"""Decoded images kept in memory, as far as a bound lets: each is decoded once."""

import threading
import weakref

from resseg.data.records import Examples

MIB = 2**20

_lock = threading.Lock()
_splits: "weakref.WeakSet[Kept]" = weakref.WeakSet()  # all of this process


class Kept:
    """A split whose examples stay in memory once they have been decoded.

    What has been kept stays: in an order that is shuffled anew each epoch, an image
    that made room for another would be read just as often as that other. The bound is
    on all splits of this process together. The arrays of an example are read-only.
    """

    def __init__(self, source: Examples, bound: int):
        """Keeps nothing yet.

        Args:
            source: the split.
            bound: bytes of all that is kept in this process, at most.
        """
        self._source, self._bound = source, bound
        self._examples: dict[int, dict] = {}
        self._bytes = 0
        with _lock:
            _splits.add(self)

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, index: int) -> dict:
        """An example, see `Examples`; decoded where it has not been kept."""
        example = self._examples.get(index)
        if example is None:
            example = self._source[index]
            for name in ("image", "mask"):
                example[name].flags.writeable = False
            self._keep(index, example)
        return example

    def forget(self) -> None:
        """Gives the memory back; what is read from now on is kept anew."""
        with _lock:
            self._examples, self._bytes = {}, 0

    def __reduce__(self):
        # Another process keeps its own: what lies here is larger than the files.
        return Kept, (self._source, self._bound)

    def _keep(self, index: int, example: dict) -> None:
        size = example["image"].nbytes + example["mask"].nbytes
        with _lock:
            held = sum(split._bytes for split in _splits)
            if index not in self._examples and held + size <= self._bound:
                self._examples[index] = example
                self._bytes += size
