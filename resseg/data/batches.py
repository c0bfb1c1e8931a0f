"""Training batches by their number, each a function of it and the seed alone."""

from collections.abc import Iterator

import numpy as np

from resseg.data.memory import Kept
from resseg.data.order import Numbers, Order
from resseg.data.replacing import REPLACES, Replacing
from resseg.data.transforms import Drawn, TrainTransform

_ENDLESS = 2**60  # batches: the last of them still has a position of 64 bits


class Batches:
    """All batches of a training, for any thread and any process."""

    def __init__(
        self,
        source: Kept | Replacing,
        transform: TrainTransform,
        seed: int,
        size: int,
        part: tuple[int, int],
    ):
        """Reads nothing yet.

        Args:
            source: the split.
            transform: makes crops of its images.
            seed: of order and augmentation.
            size: examples that each process has of a batch.
            part: index of this process, and how many there are. Each has a part of
                every batch that is in one piece.
        """
        self._source, self._transform, self._seed = source, transform, seed
        self._size, self._part = size, part
        self._order = Order(len(source), seed)

    def __len__(self) -> int:
        return _ENDLESS // self._size

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        """A batch by its number, see `TrainTransform.batch`, and what it `REPLACES`."""
        part, parts = self._part
        first = (index * parts + part) * self._size
        numbers, replaced = Numbers(self._seed), []

        def drawn() -> Iterator[Drawn]:
            for position in range(first, first + self._size):
                example = self._source[self._order[position]]
                replaced.append(example.get(REPLACES))
                yield self._transform.draw(example, numbers.at(position), self._source)

        batch = self._transform.batch(drawn(), self._size)
        if isinstance(self._source, Replacing):
            batch[REPLACES] = np.array(replaced, np.int32)
        return batch
