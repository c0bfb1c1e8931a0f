"""Which image comes when, and the random numbers of each example.

Both are those of grain's `source(images).seed(seed).shuffle().repeat().random_map(…)`,
to the bit. Of fewer than 65,536 images grain finds each by steps of a permutation of
65,536 numbers until one of them is an index: 0.04 ms for one of 500 images, 0.17 for
one of 100. Here those of an epoch are found together, in 2 ms.
"""

import functools
import threading
from typing import Any

import grain
import numpy as np

_BLOCK = 2**16  # numbers of the smallest permutation that grain has
_EPOCHS = 4  # whose order is known at a time: threads are at different batches
_WORD = 2**32


class Order:
    """Images of an endless sequence that shows all in each epoch, in another order."""

    def __init__(self, images: int, seed: int):
        """Shuffles nothing yet.

        Args:
            images: how many there are.
            seed: of the order.
        """
        self._images, self._seed = images, seed
        self._large: Any = None
        if images > _BLOCK:  # where its own way is the fast one
            self._large = grain.MapDataset.range(images).seed(seed).shuffle().repeat()
        self._epochs: dict[int, np.ndarray] = {}
        self._lock = threading.Lock()

    def __getitem__(self, position: int) -> int:
        """Index of the image at a position, from 0; for any thread."""
        if self._large is not None:
            return self._large[position]
        epoch, place = divmod(position, self._images)
        with self._lock:
            order = self._epochs.get(epoch)
            if order is None:
                seed = (_derived(self._seed, 1) + epoch) % _WORD
                order = self._epochs[epoch] = permutation(self._images, seed)
                if len(self._epochs) > _EPOCHS:
                    del self._epochs[next(iter(self._epochs))]  # the oldest
        return int(order[place])

    def __reduce__(self):
        return Order, (self._images, self._seed)


class Numbers:
    """The random numbers of examples, by their position."""

    def __init__(self, seed: int):
        """`seed`: of all of them."""
        self._philox = np.random.Philox(_derived(seed, 3))
        self._generator = np.random.Generator(self._philox)
        self._state = self._philox.state

    def at(self, position: int) -> np.random.Generator:
        """Those of one example; good until the next is asked for."""
        self._state["state"]["counter"] = np.array((0, 0, 0, position), np.uint64)
        self._philox.state = self._state
        return self._generator


def permutation(images: int, seed: int) -> np.ndarray:
    """An order of up to 65,536 images, indices `[images]`.

    Numbers of 16 bits are permuted by four rounds of a Feistel network with the round
    function of SIMON (Beaulieu et al. 2013, eprint 2013/404, section 3), and an image
    goes on until it meets an index again (Black and Rogaway 2002, "cycle walking").

    Args:
        images: how many there are.
        seed: of 32 bits.
    """
    numbers = np.arange(_BLOCK, dtype=np.uint16)
    left, right = (numbers >> 8).astype(np.uint8), numbers.astype(np.uint8)
    keys = np.array(_round_keys(seed), np.uint32).astype(np.uint8)
    for first, second in keys.reshape(2, 2):
        left = left ^ _round(right) ^ first
        right = right ^ _round(left) ^ second
    permuted = left.astype(np.uint16) << 8 | right
    ways = np.where(numbers < images, numbers, permuted)  # an index stays where it is
    order = permuted[:images]
    while (order >= images).any():
        order, ways = ways[order], ways[ways]  # twice as many steps each time
    return order


def _round(word: np.ndarray) -> np.ndarray:
    # Words of 8 bits: a rotation by 8 is none.
    return (word << 1 | word >> 7) & word ^ (word << 2 | word >> 6)


def _round_keys(seed: int) -> list[int]:
    """Four of 32 bits, as `std::seed_seq{seed}` gives them (C++, rand.util.seedseq)."""
    keys = [0x8B8B8B8B] * 4
    for k in range(4):
        following, opposite = (k + 1) % 4, (k + 2) % 4
        mixed = 1664525 * _shifted(keys[k] ^ keys[following] ^ keys[k - 1])
        number = (1, 1 + seed, 2, 3)[k]
        keys[following] = (keys[following] + mixed) % _WORD
        keys[opposite] = (keys[opposite] + mixed + number) % _WORD
        keys[k] = (mixed + number) % _WORD
    for k in range(4):
        following, opposite = (k + 1) % 4, (k + 2) % 4
        total = (keys[k] + keys[following] + keys[k - 1]) % _WORD
        mixed = 1566083941 * _shifted(total) % _WORD
        keys[following] ^= mixed
        keys[opposite] ^= (mixed - k) % _WORD
        keys[k] = (mixed - k) % _WORD
    return keys


def _shifted(number: int) -> int:
    return number ^ number >> 27


@functools.cache
def _derived(seed: int, depth: int) -> int:
    """The seed of a transformation that stands so far behind the seed of a data set."""
    return int(np.random.SeedSequence([seed, depth]).generate_state(1)[0])
