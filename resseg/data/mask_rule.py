"""What the values and colours of mask files mean: a class, void, or nothing."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from resseg.data import mask_files
from resseg.data.parts import MaskPart
from resseg.data.spec import VOID

Color = tuple[int, int, int]

_STRAY = -1
_LISTED = 8  # values that a message names


@dataclasses.dataclass(frozen=True)
class Mapped:
    """A mask in class indices.

    Attributes:
        labels: uint8 `[height, width]`, class indices and void.
        strays: what the mask holds that is neither, as it stands in the file, to its
            pixels; void in `labels`.
    """

    labels: np.ndarray
    strays: dict[str, int]


@dataclasses.dataclass(frozen=True)
class MaskRule:
    """How the values of a mask file become class indices.

    Attributes:
        void: the value that means "not labelled", besides 255.
        binary: True where the masks are black and white: 255 is class 1.
        first: the value of class 0; what lies below it is void.
        values: mask value to class index or void, where a table says it; nothing but
            255 is added to it.
        colors: RGB to class index or void: the colours of a mask are read then, those
            of its palette too, and grey counts as a colour.
        shared: RGB to the classes that one colour stands for; it cannot be read.
        strays_are_void: False where a stray is an error.
    """

    void: int | None = None
    binary: bool = False
    first: int = 0
    values: tuple[tuple[int, int], ...] = ()
    colors: tuple[tuple[Color, int], ...] = ()
    shared: tuple[tuple[Color, str], ...] = ()
    strays_are_void: bool = False

    def read(self, path: Path | MaskPart) -> np.ndarray:
        """What a mask file holds: values, or colours where the rule speaks of these.

        Returns:
            integers `[height, width]` or uint8 RGB `[height, width, 3]`.

        Raises:
            UserError: the file cannot be decoded, or holds something else.
        """
        if not isinstance(path, Path):
            return path.values()
        if self.colors:
            return mask_files.read_mask_colors(path)
        return mask_files.read_mask(path)

    def apply(self, mask: np.ndarray, num_classes: int) -> Mapped:
        """Maps a mask, exactly: a value or colour that nothing names is a stray.

        Args:
            mask: integers `[height, width]`; or, where the rule has colours, uint8 RGB
                `[height, width, 3]`.
            num_classes: of the data set.
        """
        stored = _packed(mask) if mask.ndim == 3 else mask
        table = self._table(num_classes)
        if stored.dtype == np.uint8:
            classes = _look_up(table, np.arange(256))[stored]
        else:
            classes = _look_up(table, stored)
        strays: dict[str, int] = {}
        beyond = classes == _STRAY
        if beyond.any():
            values, pixels = np.unique(stored[beyond], return_counts=True)
            names = map(self._name, values.tolist())
            strays = dict(zip(names, pixels.tolist(), strict=True))
        return Mapped(np.where(beyond, VOID, classes).astype(np.uint8), strays)

    def expects(self, num_classes: int) -> str:
        """What a mask may hold, for a message."""
        if self.colors:
            return f"expected one of {len(self.colors)} colours"
        if self.values or self.binary:
            known = [str(value) for value in self._table(num_classes)]
            more = ", ..." * (len(known) > _LISTED)
            return f"expected {', '.join(known[:_LISTED])}{more}"
        last = self.first + num_classes - 1
        return f"classes are {self.first} to {last}, {VOID} is void"

    def _table(self, num_classes: int) -> dict[int, int]:
        if self.colors:
            return {_code(color): index for color, index in self.colors}
        if self.values:
            table = {VOID: VOID} | dict(self.values)
        elif self.binary:
            table = {0: 0, VOID: 1}
        else:
            table = dict.fromkeys((*range(self.first), VOID), VOID)
            table |= {self.first + index: index for index in range(num_classes)}
            table[VOID] = VOID
        if self.void is not None:
            table[self.void] = VOID
        return table

    def _name(self, stored: int) -> str:
        if not self.colors:
            return str(stored)
        color = (stored >> 16, stored >> 8 & 255, stored & 255)
        classes = dict(self.shared).get(color)
        words = f"colour {','.join(map(str, color))}"
        return f"{words} of {classes}" if classes else words


AS_INDICES = MaskRule()  # the values are class indices already; 255 is void


def in_order(values: Sequence[int]) -> tuple[tuple[int, int], ...]:
    """`MaskRule.values` of grey levels that are the classes in their order."""
    return tuple((value, index) for index, value in enumerate(values))


def counted(strays: Mapping[str, int]) -> str:
    """The first few strays with their pixels, for a message."""
    named = [f"{name} ({pixels} px)" for name, pixels in strays.items()]
    return ", ".join(named[:4]) + ", ..." * (len(named) > 4)


def total(masks: Iterable[Mapping[str, int]]) -> dict[str, int]:
    """Pixels of each stray over many masks, the most frequent first."""
    pixels: dict[str, int] = {}
    for strays in masks:
        for name, count in strays.items():
            pixels[name] = pixels.get(name, 0) + count
    return dict(sorted(pixels.items(), key=lambda item: -item[1]))


def _look_up(table: Mapping[int, int], stored: np.ndarray) -> np.ndarray:
    """int16, of the shape of `stored`: what the table says, or `_STRAY`."""
    keys = np.array(sorted(table))
    targets = np.array([table[key] for key in keys.tolist()], np.int16)
    place = np.searchsorted(keys, stored).clip(max=len(keys) - 1)
    return np.where(keys[place] == stored, targets[place], _STRAY)


def _packed(mask: np.ndarray) -> np.ndarray:
    """uint8 RGB as one int32 per pixel."""
    red, green, blue = np.moveaxis(mask.astype(np.int32), -1, 0)
    return red << 16 | green << 8 | blue


def _code(color: Color) -> int:
    return color[0] << 16 | color[1] << 8 | color[2]
