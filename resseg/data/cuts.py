"""Images larger than memory as windows, each a pair of its own.

Nothing is cut on the disk: a window is read from its TIFF when it is checked and when
it is stored.
"""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from resseg.data import headers, mask_files
from resseg.data.findings import Finding
from resseg.data.pairs import Listing, Pair
from resseg.data.pixels import Picture
from resseg.data.spec import LONGEST_SIDE
from resseg.data.windows import Windows, is_tiff
from resseg.errors import UserError


@dataclasses.dataclass(frozen=True)
class _Window:
    """Rows and columns of a TIFF."""

    path: Path
    rows: tuple[int, int]
    columns: tuple[int, int]

    def __str__(self) -> str:
        return f"{self.path} at row {self.rows[0]}, column {self.columns[0]}"

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return self.rows[1] - self.rows[0], self.columns[1] - self.columns[0]

    def _read(self, cleared: bool) -> Picture:
        with Windows(self.path) as windows:
            windows.check()
            picture, _ = windows.read(slice(*self.rows), slice(*self.columns), cleared)
            return picture


class ImageWindow(_Window):
    """See `parts.ImagePart`; 0 where nobody knows the image."""

    def load(self) -> Picture:
        return self._read(cleared=True)


@dataclasses.dataclass(frozen=True)
class MaskWindow(_Window):
    """See `parts.MaskPart`.

    Attributes:
        colors: whether its colours are read, not its class indices.
    """

    colors: bool = False

    def values(self) -> np.ndarray:
        picture = self._read(cleared=False)
        mask_files.require_one_meaning(self.path, picture.header)
        if picture.header.kind in (headers.GREY_ALPHA, headers.RGB_ALPHA):
            raise UserError(f"{self.path}: a mask with transparency; save it without")
        if self.colors:
            return mask_files.colors_of(picture)
        return mask_files.indices_of(picture)


def cut(listing: Listing, side: int, overlap: float, colors: bool) -> Listing:
    """The pairs of a listing, with windows for those that are larger.

    Windows of an image stay in one split, but for those of the only image there is if
    they do not overlap.

    Args:
        listing: pairs of files; those that are no TIFF stay as they are.
        side: of the windows, pixels; an image that is smaller along one side is as
            wide as it is.
        overlap: of neighbouring windows, a share of the side. The last of a row ends
            where the image does, so it may overlap more.
        colors: whether masks are read by their colours.

    Raises:
        UserError: a side or an overlap that cannot be.
    """
    if not 1 <= side <= LONGEST_SIDE:
        raise UserError(f"--cut {side}: expected 1 to {LONGEST_SIDE} pixels")
    if not 0 <= overlap < 1:
        raise UserError(
            f"--cut-overlap {overlap:g}: expected 0 up to, not including, 1"
        )
    step = max(1, round(side * (1 - overlap)))
    findings = list(listing.findings)
    together = overlap > 0 or len(listing.pairs) > 1
    splits: dict[str, list[Pair]] = {}
    for split, pairs in listing.splits.items():
        splits[split] = []
        for pair in pairs:
            try:
                splits[split] += _windows(pair, side, step, colors, together, findings)
            except UserError as error:
                file, _, message = str(error).partition(": ")
                findings.append(Finding("unreadable", file, message))
    return Listing(splits, findings)


def _windows(
    pair: Pair,
    side: int,
    step: int,
    colors: bool,
    together: bool,
    findings: list[Finding],
) -> Iterator[Pair]:
    image, mask = pair.image, pair.mask
    if not isinstance(image, Path) or not isinstance(mask, Path) or not is_tiff(image):
        yield pair
        return
    with Windows(image) as source:
        size = source.size
        if max(size) <= side:
            yield pair
            return
        source.check()
        _require_fit(mask, size)
        empty = 0
        for rows in _spans(size[0], side, step):
            for columns in _spans(size[1], side, step):
                if source.is_empty(slice(*rows), slice(*columns)):
                    empty += 1
                    continue
                yield dataclasses.replace(
                    pair,
                    name=f"{pair.name}_{rows[0]}_{columns[0]}",
                    image=ImageWindow(image, rows, columns),
                    mask=MaskWindow(mask, rows, columns, colors),
                    group=(pair.group or pair.name) if together else "",
                )
    if empty:
        message = f"{empty} windows in which nothing is stored: left out"
        findings.append(Finding("extra", str(image), message))


def _require_fit(mask: Path, size: tuple[int, int]) -> None:
    if not is_tiff(mask):
        raise UserError(f"{mask}: no TIFF; expected one, as its image is cut")
    with Windows(mask) as windows:
        if windows.size != size:
            (rows, columns), (height, width) = windows.size, size
            raise UserError(
                f"{mask}: mask is {rows}x{columns}, image is {height}x{width} (height "
                "x width)"
            )


def _spans(length: int, side: int, step: int) -> list[tuple[int, int]]:
    """Begin and end of the windows along a side of the image."""
    last = max(length - side, 0)
    begins = [*range(0, last, step), last]
    return [(begin, min(begin + side, length)) for begin in begins]
