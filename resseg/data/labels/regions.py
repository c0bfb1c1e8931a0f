"""Which pixels an object covers, as the rasteriser of its format says.

A region raises ValueError where it is none: too few points, coordinates that are no
numbers or lie far outside, runs that do not fill the image.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import Protocol, cast

import cv2
import numpy as np
from PIL import Image, ImageDraw

from resseg.data.labels.geometry import points_of, require_inside

_LONGEST_NUMBER = 10  # letters: 50 bits


class Region(Protocol):
    """Some pixels of an image."""

    def mask(self, height: int, width: int) -> np.ndarray:
        """bool `[height, width]`.

        Raises:
            ValueError: it is no region, or not of an image of this size.
        """
        ...


@dataclasses.dataclass(frozen=True)
class CocoPolygons:
    """The union of polygons, as pycocotools draws them.

    Attributes:
        parts: of each the corners, as pairs or as x, y, x, y ...
    """

    parts: Sequence[Sequence]

    def mask(self, height: int, width: int) -> np.ndarray:
        from pycocotools import mask as coco

        parts = [points_of(part).ravel().tolist() for part in self.parts]
        if not parts:
            raise ValueError("no polygon in it")
        union = coco.merge(coco.frPyObjects(parts, height, width))
        packed = cast(bytes, union["counts"])  # whatever its type hints say
        return CocoRuns(packed.decode(), (height, width)).mask(height, width)


@dataclasses.dataclass(frozen=True)
class CocoRuns:
    """COCO's run lengths, down the columns, beginning with what is not covered.

    Attributes:
        counts: the lengths, or the text that pycocotools packs them into.
        size: height and width that they are for.
    """

    counts: Sequence[int] | str
    size: tuple[int, int]

    def mask(self, height: int, width: int) -> np.ndarray:
        if self.size != (height, width):
            raise ValueError(
                f"RLE of {self.size[0]}x{self.size[1]} in an image of {height}x{width} "
                "(height x width)"
            )
        counts = self.counts
        counts = _unpacked(counts) if isinstance(counts, str) else counts
        return filled(counts, height * width).reshape((height, width), order="F")


@dataclasses.dataclass(frozen=True)
class PillowPolygon:
    """A polygon, filled and outlined by `PIL.ImageDraw`."""

    points: Sequence[Sequence[float]]

    def mask(self, height: int, width: int) -> np.ndarray:
        corners = [tuple(point) for point in points_of(self.points).tolist()]
        canvas = Image.new("1", (width, height))
        ImageDraw.Draw(canvas).polygon(corners, fill=1, outline=1)
        return np.array(canvas)


@dataclasses.dataclass(frozen=True)
class PillowBox:
    """A rectangle, or the ellipse inside it, filled and outlined by `PIL.ImageDraw`.

    Attributes:
        left, top, right, bottom: in pixels, the last ones included.
        round: True for the ellipse.
    """

    left: float
    top: float
    right: float
    bottom: float
    round: bool = False

    def mask(self, height: int, width: int) -> np.ndarray:
        corners = [(self.left, self.top), (self.right, self.bottom)]
        box = points_of(corners, fewest=2).ravel().tolist()
        canvas = Image.new("1", (width, height))
        draw = ImageDraw.Draw(canvas)
        shape = draw.ellipse if self.round else draw.rectangle
        shape(box, fill=1, outline=1)
        return np.array(canvas)


@dataclasses.dataclass(frozen=True)
class CvPolygon:
    """A polygon that `cv2.fillPoly` fills, its coordinates cut to whole pixels.

    Attributes:
        points: x and y as shares of width and height.
    """

    points: Sequence[Sequence[float]]

    def mask(self, height: int, width: int) -> np.ndarray:
        shares = np.asarray(self.points, np.float32)
        corners = points_of(shares * np.array([width, height], np.float32))
        canvas = np.zeros((height, width), np.uint8)
        cv2.fillPoly(canvas, [corners.astype(np.int32)], color=(1,))
        return canvas.astype(bool)


@dataclasses.dataclass(frozen=True)
class CentrePolygons:
    """Pixels whose centre lies in an odd number of polygons: further ones are holes.

    A pixel reaches from its number to the next; the centre of the first is at 0.5.
    """

    rings: Sequence[Sequence | np.ndarray]

    def mask(self, height: int, width: int) -> np.ndarray:
        turns = np.zeros((height, width + 1), bool)
        for ring in self.rings:
            corners = points_of(ring)
            for start, end in zip(corners, np.roll(corners, -1, 0), strict=True):
                rows, columns = _crossings(start, end, height, width)
                turns[rows, columns] ^= True
        return np.logical_xor.accumulate(turns[:, :-1], axis=1)


@dataclasses.dataclass(frozen=True)
class CentreOval:
    """Pixels whose centre lies in an ellipse, its border included.

    Attributes:
        left, top, width, height: of the box around it.
    """

    left: int
    top: int
    width: int
    height: int

    def mask(self, height: int, width: int) -> np.ndarray:
        if min(self.width, self.height) < 1:
            raise ValueError(f"{self.height}x{self.width} pixels; expected some")
        across, down = self.width / 2, self.height / 2
        columns = (np.arange(width) + 0.5 - self.left - across) / across
        rows = (np.arange(height) + 0.5 - self.top - down) / down
        return rows[:, None] ** 2 + columns**2 <= 1


@dataclasses.dataclass(frozen=True)
class Patch:
    """Pixels in a rectangle of the image.

    Attributes:
        pixels: bool `[rows, columns]`.
        top, left: where they begin.
    """

    pixels: np.ndarray
    top: int = 0
    left: int = 0

    def mask(self, height: int, width: int) -> np.ndarray:
        rows, columns = self.pixels.shape
        require_inside((self.top, self.left), (rows, columns), (height, width))
        result = np.zeros((height, width), bool)
        result[self.top : self.top + rows, self.left : self.left + columns] = (
            self.pixels
        )
        return result


def filled(counts: Sequence[int] | np.ndarray, pixels: int) -> np.ndarray:
    """bool `[pixels]` from run lengths: not covered, covered, not covered ...

    Raises:
        ValueError: the runs are no whole numbers, or do not fill the pixels.
    """
    try:
        runs = np.asarray(counts)
    except (ValueError, OverflowError):
        raise ValueError("run lengths that are no whole numbers") from None
    if runs.size == 0 or runs.ndim != 1 or not np.issubdtype(runs.dtype, np.integer):
        raise ValueError("run lengths that are no whole numbers")
    fits = runs.min() >= 0 and runs.max() <= pixels
    if not fits or runs.sum(dtype=np.int64) != pixels:
        total = sum(map(int, runs))
        raise ValueError(f"runs of {total} pixels; expected {pixels}, none negative")
    return np.repeat(np.arange(len(runs)) % 2 == 1, runs)


def _unpacked(words: str) -> np.ndarray:
    """The run lengths of COCO's compressed text.

    A letter holds 5 bits of a number, the lowest first, and whether more follow; from
    the fourth run on the numbers are differences to the run before the last.
    """
    letters = np.frombuffer(words.encode("utf-8", "replace"), np.uint8) - np.uint8(48)
    if (wrong := letters > 63).any():
        raise ValueError(f"letter {int(np.argmax(wrong))} is none of compressed runs")
    ends = np.flatnonzero(letters < 32)
    if not len(ends) or ends[-1] + 1 != len(letters):
        raise ValueError("compressed runs that are cut short")
    lengths = np.diff(ends, prepend=-1)
    if lengths.max() > _LONGEST_NUMBER:
        raise ValueError("compressed runs of numbers without end")
    starts = ends - lengths + 1
    shifts = 5 * (np.arange(len(letters)) - np.repeat(starts, lengths))
    counts = np.add.reduceat((letters & 31).astype(np.int64) << shifts, starts)
    counts -= np.where(letters[ends] & 16, np.int64(1) << 5 * lengths, 0)
    counts[1::2] = np.cumsum(counts[1::2])
    counts[2::2] = np.cumsum(counts[2::2])
    return counts


def _crossings(
    start: np.ndarray, end: np.ndarray, height: int, width: int
) -> tuple[np.ndarray, np.ndarray]:
    """Where an edge crosses the middle of rows: there, pixels to the right turn.

    Middles that lie on an edge are decided as ImageJ's `PolygonFiller` does.
    """
    (left, top), (right, bottom) = sorted((start, end), key=lambda point: point[1])
    first, last = (math.floor(y + 0.5) for y in (top, bottom))
    rows = np.arange(max(first, 0), min(max(last, 0), height))
    if not len(rows):
        return rows, rows
    across = left + (rows + 0.5 - top) * (right - left) / (bottom - top)
    return rows, np.floor(across + 0.5 + 1e-8).astype(int).clip(0, width)
