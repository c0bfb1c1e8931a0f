"""Crops that are made of the pixels of several images, and of their masks.

The others are drawn from the split, not from the batch, so that an example stays a
function of its number alone: batches are the same for any number of workers and of
processes that share them.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from resseg.data.spec import VOID

MOSAIC, CUTMIX, CLASSMIX = "mosaic", "cutmix", "classmix"
PARTNERS = {MOSAIC: 3, CUTMIX: 1, CLASSMIX: 1}


class Mix(NamedTuple):
    """How a crop is mixed.

    Attributes:
        kind: one of `PARTNERS`.
        numbers: three in [0, 1).
        seed: of the classes that are taken.
    """

    kind: str
    numbers: tuple[float, float, float]
    seed: int


@dataclasses.dataclass(frozen=True)
class Mixing:
    """Probabilities of each kind, together at most 1; fields as in `config.data`.

    Attributes:
        mosaic: four crops, one per quarter around a point in the middle half
            (Bochkovskiy 2020, sec. 3.4).
        cutmix: a rectangle of the crop, of a share that is uniform in [0, 1], is that
            of another (Yun 2019, sec. 3.1).
        classmix: the pixels of half of the classes of another crop lie over it (Olsson
            2021, sec. 3.1; with the masks themselves in place of predictions).
    """

    mosaic: float = 0.0
    cutmix: float = 0.0
    classmix: float = 0.0

    def draw(self, rng: np.random.Generator) -> Mix | None:
        """How a crop is mixed; draws nothing where everything is off."""
        shares = {MOSAIC: self.mosaic, CUTMIX: self.cutmix, CLASSMIX: self.classmix}
        if not any(shares.values()):
            return None
        at = rng.random()
        for kind, share in shares.items():
            if at < share:
                numbers = rng.random(), rng.random(), rng.random()
                return Mix(kind, numbers, int(rng.integers(2**63)))
            at -= share
        return None


UNMIXED = Mixing()


def mixed(
    mix: Mix, crops: Sequence[tuple[np.ndarray, np.ndarray]]
) -> tuple[np.ndarray, np.ndarray]:
    """One crop of several, in new arrays.

    Args:
        mix: how.
        crops: image uint8 `[height, width, 3]` and mask uint8 `[height, width]` of the
            first and of its partners; only read.
    """
    image, mask = (array.copy() for array in crops[0])
    for number, (other, labels) in enumerate(crops[1:], 1):
        if mix.kind == CLASSMIX:
            place = _of_classes(labels, mix.seed)
        else:
            place = _window(mix, number, mask.shape)
        image[place], mask[place] = other[place], labels[place]
    return image, mask


def _of_classes(labels: np.ndarray, seed: int) -> np.ndarray:
    """Where half of the classes are, rounded down, but one at least."""
    present = np.setdiff1d(np.unique(labels), [VOID])
    count = max(len(present) // 2, 1)
    chosen = np.random.default_rng(seed).permutation(present)[:count]
    return np.isin(labels, chosen)


def _window(mix: Mix, number: int, shape: Sequence[int]) -> tuple[slice, slice]:
    """The rows and columns that a partner fills."""
    if mix.kind == MOSAIC:
        row, column = (
            round((0.25 + at / 2) * length)
            for at, length in zip(mix.numbers[:2], shape, strict=True)
        )
        below, right = divmod(number, 2)
        return (
            slice(row, None) if below else slice(0, row),
            slice(column, None) if right else slice(0, column),
        )
    side = math.sqrt(mix.numbers[2])
    window = []
    for at, length in zip(mix.numbers[:2], shape, strict=True):
        low, high = (round((at + edge * side / 2) * length) for edge in (-1, 1))
        window.append(slice(max(low, 0), max(high, 0)))
    return window[0], window[1]
