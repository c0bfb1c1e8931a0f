"""Images and masks that are no file of their own: slices, channels, painted objects.

Their `str` is what messages call them, and begins with a file.
"""

from typing import Protocol

import numpy as np

from resseg.data.pixels import Picture


class ImagePart(Protocol):
    """An image that has to be made before it can be stored."""

    @property
    def size(self) -> tuple[int, int]:
        """Height and width, in pixels.

        Raises:
            UserError: what it is made from cannot be read.
        """
        ...

    def load(self) -> Picture:
        """Its pixels.

        Raises:
            UserError: what it is made from cannot be read.
        """
        ...


class MaskPart(Protocol):
    """A mask that has to be made."""

    def values(self) -> np.ndarray:
        """Integers `[height, width]`, for a `MaskRule`.

        Raises:
            UserError: what it is made from cannot be read.
        """
        ...
