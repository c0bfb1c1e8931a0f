"""An image of any size from windows that overlap: where they lie, how they are blended.

Every pixel of the image, those at its border too, lies under the same pattern of tiles:
it begins half an overlap outside, where the image is reflected. Probabilities are made
block by block; what a pixel becomes does not depend on how blocks are cut.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from resseg.inference.averaging import HANN

# float32 probabilities that a block of the image has, about.
BLOCK_BYTES = 64 * 2**20
_SIGMA = 1 / 8  # of a Gaussian, as a share of the tile (Isensee 2021, nnU-Net)

# Rows and columns of the image, as indices `[height]` and `[width]` -> what a network
# is given of them, float32 `[height, width, 3]`.
Read = Callable[[np.ndarray, np.ndarray], np.ndarray]
# Tiles, float32 `[batch, side, side, 3]`, and their numbers -> float32 `[batch, side,
# side, classes]`. It may be given tiles whose result is not used.
Predict = Callable[[np.ndarray, Sequence[int]], np.ndarray]


class Grid(NamedTuple):
    """Where tiles lie along both sides of an image.

    Attributes:
        side: of a tile, pixels.
        apart: neighbouring tiles begin so many pixels after each other.
        border: the first begins so many pixels before the image.
        weights: of the pixels along a side, float64 `[side]`.
    """

    side: int
    apart: int
    border: int
    weights: np.ndarray

    @property
    def margin(self) -> int:
        """Pixels at each side of a tile that count nowhere."""
        return int(np.flatnonzero(self.weights)[0])

    def count(self, length: int) -> int:
        """Tiles along a side of the image of so many pixels."""
        covered = self.side - 2 * self.border
        return 1 + max(0, -(-(length - covered) // self.apart))

    def over(self, begin: int, end: int) -> range:
        """Numbers of the tiles along a side that count in pixels `begin` to `end`."""
        reach = self.side - self.margin
        first = (begin + self.border - reach) // self.apart + 1
        last = (end - 1 + self.border - self.margin) // self.apart
        return range(max(first, 0), last + 1)

    def start(self, number: int) -> int:
        """First pixel of a tile; negative before the image."""
        return number * self.apart - self.border


def make_grid(side: int, apart: int, blend: str, multiple: int, reach: float) -> Grid:
    """The grid of tiles of a size.

    Args:
        side: of a tile, a multiple of `multiple`.
        apart: as in `Grid`, a multiple of `multiple`.
        blend: weights, one of `averaging.BLENDS`.
        multiple: the stride of the network: tiles that begin elsewhere than at its
            multiples are other features than those of the whole image.
        reach: so many pixels from the border of a tile its scores may depend on what
            lies outside. Where the overlap has room for it they count nowhere.
    """
    spare = (side - apart) / 2
    margin = int(reach) if reach <= spare else 0
    border = math.ceil(spare / multiple) * multiple
    inside = side - 2 * margin
    places = (np.arange(inside) + 0.5) / inside
    if blend == HANN:
        weights = np.sin(np.pi * places) ** 2
    else:
        weights = np.exp(-0.5 * ((places - 0.5) / _SIGMA) ** 2)
    return Grid(side, apart, border, np.pad(weights, margin))


def reflected(begin: int, end: int, length: int) -> np.ndarray:
    """Pixels `begin` to `end` along a side of `length`, mirrored at its first and last
    pixel as often as it takes, int `[end - begin]`."""
    period = max(2 * (length - 1), 1)
    places = np.arange(begin, end) % period
    return np.minimum(places, period - places) if length > 1 else 0 * places


def blocks(
    height: int, width: int, grid: Grid, classes: int
) -> Iterator[tuple[slice, slice]]:
    """Rows and columns of the blocks of an image, row by row."""
    side = block_side(grid, classes)
    for top in range(0, height, side):
        for left in range(0, width, side):
            yield (
                slice(top, min(top + side, height)),
                slice(left, min(left + side, width)),
            )


def block_side(grid: Grid, classes: int) -> int:
    """Of a block, a multiple of what tiles are apart; smaller for many classes."""
    most = math.isqrt(BLOCK_BYTES // (4 * classes))
    return max(1, most // grid.apart) * grid.apart


def probabilities(
    read: Read,
    size: tuple[int, int],
    rows: slice,
    columns: slice,
    grid: Grid,
    predict: Predict,
    batch: int,
) -> np.ndarray:
    """Weighted means over all tiles that count in a block.

    Args:
        read: of the image.
        size: its height and width.
        rows: of the block.
        columns: of the block.
        grid: of the tiles.
        predict: what is averaged.
        batch: tiles that `predict` is given at a time.

    Returns:
        float32 `[rows, columns, classes]`.
    """
    height, width = size
    over = grid.over(rows.start, rows.stop), grid.over(columns.start, columns.stop)
    whole = [
        reflected(grid.start(tiles[0]), grid.start(tiles[-1]) + grid.side, length)
        for tiles, length in zip(over, (height, width), strict=True)
    ]
    image = read(*whole)
    across = grid.count(width)
    places = [(down, right) for down in over[0] for right in over[1]]
    total: np.ndarray | None = None
    for first in range(0, len(places), batch):
        chosen = places[first : first + batch]
        tiles = np.zeros((batch, grid.side, grid.side, 3), np.float32)
        for tile, (down, right) in zip(tiles, chosen, strict=False):
            top, left = (
                (down - over[0][0]) * grid.apart,
                (right - over[1][0]) * grid.apart,
            )
            tile[:] = image[top : top + grid.side, left : left + grid.side]
        numbers = [down * across + right for down, right in chosen]
        values = predict(tiles, numbers + [0] * (batch - len(chosen)))
        if total is None:
            shape = rows.stop - rows.start, columns.stop - columns.start
            total = np.zeros((*shape, values.shape[-1]), np.float32)
        for value, (down, right) in zip(values, chosen, strict=False):
            _add(total, value, grid, (rows, columns), (down, right))
    assert total is not None, "a block lies under a tile"
    down = _sum_of_weights(grid, rows, over[0])
    right = _sum_of_weights(grid, columns, over[1])
    total /= np.multiply.outer(down, right).astype(np.float32)[..., None]
    return total


def _add(
    total: np.ndarray,
    values: np.ndarray,
    grid: Grid,
    block: tuple[slice, slice],
    tile: tuple[int, int],
) -> None:
    """Adds the part of a tile that lies in the block, weighted."""
    inside, outside, weights = [], [], []
    for along, number in zip(block, tile, strict=True):
        begin, end = _shared(grid, along, number)
        inside.append(slice(begin - along.start, end - along.start))
        outside.append(slice(begin - grid.start(number), end - grid.start(number)))
        weights.append(grid.weights[outside[-1]])
    factor = np.multiply.outer(*weights).astype(np.float32)[..., None]
    total[tuple(inside)] += factor * values[tuple(outside)]


def _shared(grid: Grid, along: slice, number: int) -> tuple[int, int]:
    """First pixel of a block that a tile counts in, and the one after the last."""
    start = grid.start(number)
    begin = max(start + grid.margin, along.start)
    end = min(start + grid.side - grid.margin, along.stop)
    return begin, end


def _sum_of_weights(grid: Grid, along: slice, tiles: range) -> np.ndarray:
    total = np.zeros(along.stop - along.start)
    for number in tiles:
        begin, end = _shared(grid, along, number)
        start = grid.start(number)
        total[begin - along.start : end - along.start] += grid.weights[
            begin - start : end - start
        ]
    return total
