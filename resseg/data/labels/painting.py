"""Objects of an image become a mask of class indices."""

import dataclasses
import math
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from resseg.data.headers import read_header
from resseg.data.labels.regions import Region
from resseg.data.labels.scheme import Scheme
from resseg.data.parts import ImagePart
from resseg.data.pixels import read_content
from resseg.data.spec import VOID
from resseg.errors import UserError

LOWEST = -math.inf  # the layer of what covers nothing that is labelled


@dataclasses.dataclass(frozen=True)
class Object:
    """One labelled object.

    Attributes:
        category: its name in the label file; None where its pixels are void.
        region: what it covers.
        where: how messages call it within its file, such as `annotation 17`.
        layer: objects of higher layers are later ones.
    """

    category: str | None
    region: Region
    where: str
    layer: float = 0


@dataclasses.dataclass(frozen=True)
class Objects:
    """The objects of one image.

    Attributes:
        file: label file, for messages.
        objects: in the order of the file.
        size: height and width of the image as the file says; None = it does not.
    """

    file: str
    objects: tuple[Object, ...]
    size: tuple[int, int] | None = None


@dataclasses.dataclass(frozen=True)
class Painting:
    """A mask that is painted when it is asked for, see `parts.MaskPart`."""

    image: Path | ImagePart
    content: Objects
    scheme: Scheme

    def __str__(self) -> str:
        return f"{self.content.file}: {self.image}"

    def values(self) -> np.ndarray:
        size, said = size_of(self.image), self.content.size
        if said not in (None, size):
            raise UserError(
                f"{self.content.file}: is for {said[0]}x{said[1]}, and {self.image} is "
                f"{size[0]}x{size[1]} (height x width, upright)"
            )
        return paint(self.content, size, self.scheme)


def size_of(image: Path | ImagePart) -> tuple[int, int]:
    """Height and width of an image, upright.

    Raises:
        UserError: it cannot be read.
    """
    if not isinstance(image, Path):
        return image.size
    header = read_header(image, read_content(image))
    height, width = header.size
    return (width, height) if header.orientation >= 5 else (height, width)


def paint(content: Objects, size: tuple[int, int], scheme: Scheme) -> np.ndarray:
    """Paints the objects of an image in the order of the scheme.

    Args:
        content: the objects.
        size: height and width of the image.
        scheme: which category is which class, and what is on top.

    Returns:
        uint8 `[height, width]` of class indices and void.

    Raises:
        UserError: an object is none; the message names file and object.
    """
    ordered = sorted(content.objects, key=lambda each: each.layer)
    if scheme.overlap == "area":
        areas = {
            id(each): int(pixels.sum())
            for each, pixels in _masks(content.file, ordered, size)
        }
        ordered.sort(key=lambda each: (each.layer != LOWEST, -areas[id(each)]))
    result = np.full(size, scheme.rest, np.uint8)
    covered = np.zeros(size, bool) if scheme.overlap == "void" else None
    for each, pixels in _masks(content.file, ordered, size):
        index = VOID if each.category is None else scheme.index(each.category)
        if index is None:
            continue
        part = _lines(pixels)
        own, target = pixels[part], result[part]
        if covered is not None:
            also = own & covered[part] & (target != index)
            covered[part] |= own & (each.layer != LOWEST)
            np.copyto(target, index, where=own)
            np.copyto(target, VOID, where=also)
        else:
            np.copyto(target, index, where=own)
    return result


def _lines(pixels: np.ndarray) -> tuple[slice, slice]:
    """The rows or columns that an object covers: most are small, and so is the work."""
    by_rows = pixels.flags.c_contiguous
    lines = np.flatnonzero(pixels.any(axis=1 if by_rows else 0))
    if not len(lines):
        return slice(0), slice(0)
    part = slice(lines[0], lines[-1] + 1)
    return (part, slice(None)) if by_rows else (slice(None), part)


def _masks(
    file: str, objects: Iterable[Object], size: tuple[int, int]
) -> Iterator[tuple[Object, np.ndarray]]:
    for each in objects:
        try:
            yield each, each.region.mask(*size)
        except ValueError as error:
            raise UserError(f"{file}: {each.where}: {error}") from None
