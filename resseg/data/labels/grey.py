"""Numbers of a scanner become grey levels, and arrays become pictures."""

from pathlib import Path

import numpy as np

from resseg.data.headers import GREY, RGB, Header
from resseg.data.pixels import Picture
from resseg.errors import UserError


def to_grey(
    values: np.ndarray, window: tuple[float, float], inverted: bool = False
) -> np.ndarray:
    """Scales a window linearly to 0 to 255 and rounds; what lies outside is cut off.

    Args:
        values: `[height, width]`.
        window: values that become black and white; equal ones make all black.
        inverted: True where the largest value is black.

    Returns:
        uint8 `[height, width]`.
    """
    low, high = window
    span = high - low if high > low else 1.0
    shares = np.clip((values.astype(np.float64) - low) / span, 0, 1)
    return np.rint(255 * (1 - shares if inverted else shares)).astype(np.uint8)


def range_of(values: np.ndarray, name: str) -> tuple[float, float]:
    """The smallest and the largest value.

    Raises:
        UserError: one is not finite.
    """
    low, high = float(values.min()), float(values.max())
    if not np.isfinite([low, high]).all():
        raise UserError(f"{name}: holds values that are not finite")
    return low, high


def indices(values: np.ndarray, name: str) -> np.ndarray:
    """Values of a mask as int32.

    Raises:
        UserError: they are no whole numbers, or beyond any class index.
    """
    if np.issubdtype(values.dtype, np.floating):
        if not (np.isfinite(values) & (values == np.rint(values))).all():
            raise UserError(f"{name}: a mask of values that are no whole numbers")
    elif not np.issubdtype(values.dtype, np.integer):
        raise UserError(f"{name}: pixels of type {values.dtype}; expected numbers")
    if values.size and (values.min() < 0 or values.max() > np.iinfo(np.int32).max):
        raise UserError(
            f"{name}: holds {values.min()} to {values.max()}; expected 0 up"
        )
    return values.astype(np.int32)


def picture(path: Path, kind: str, values: np.ndarray) -> Picture:
    """An image that was made.

    Args:
        path: of the file that it was made from.
        kind: of file, for messages.
        values: uint8 `[height, width]`, or `[height, width, 3]`.
    """
    colors = GREY if values.ndim == 2 else RGB
    header = Header(kind, colors, 8, "none", values.shape[:2])
    return Picture(path, header, values.reshape(*values.shape[:2], -1))
