"""Corners and boxes of label files: checked, turned, made of an ellipse."""

import math
from collections.abc import Sequence

import numpy as np

from resseg.data.spec import LONGEST_SIDE

_LONGEST_OUTLINE = 5_000_000  # pixels; pycocotools makes room for five times as many


def require_inside(
    start: tuple[int, int], box: tuple[int, int], image: tuple[int, int]
) -> None:
    """Raises ValueError unless a box lies in an image; all are (row, column) sizes."""
    ends = [first + side for first, side in zip(start, box, strict=True)]
    fits = ends[0] <= image[0] and ends[1] <= image[1]
    if not fits or min(start) < 0 or min(box) < 1:
        raise ValueError(
            f"{box[0]}x{box[1]} pixels at row {start[0]}, column {start[1]} do not lie "
            f"in an image of {image[0]}x{image[1]} (height x width)"
        )


def points_of(values: object, fewest: int = 3) -> np.ndarray:
    """Corners, checked: float `[points, 2]`, x and y.

    Args:
        values: pairs, or x, y, x, y ...
        fewest: points that there must be.

    Raises:
        ValueError: they are fewer, no numbers, or far outside any image.
    """
    try:
        flat = np.asarray(values, np.float64)
    except (ValueError, TypeError, OverflowError):
        raise ValueError("coordinates that are no numbers") from None
    if flat.ndim == 1 and flat.size % 2 == 0:
        flat = flat.reshape(-1, 2)
    if flat.ndim != 2 or flat.shape[1] != 2:
        raise ValueError("coordinates that are no pairs of x and y")
    if len(flat) < fewest:
        raise ValueError(f"{len(flat)} points; expected {fewest} or more")
    if not np.isfinite(flat).all():
        raise ValueError("a coordinate that is not finite")
    far = flat[np.abs(flat).max(1) > 2 * LONGEST_SIDE]
    if len(far):
        raise ValueError(f"a corner at x={far[0, 0]:g}, y={far[0, 1]:g}, far outside")
    if np.abs(np.diff(flat, axis=0)).sum() > _LONGEST_OUTLINE:
        raise ValueError(f"an outline of more than {_LONGEST_OUTLINE} pixels")
    return flat


def turned(
    corners: Sequence[tuple[float, float]], center: tuple[float, float], degrees: float
) -> list[tuple[float, float]]:
    """Corners turned about a point, clockwise on the screen."""
    sine, cosine = math.sin(math.radians(degrees)), math.cos(math.radians(degrees))
    x, y = center
    return [
        (
            x + (left - x) * cosine - (top - y) * sine,
            y + (left - x) * sine + (top - y) * cosine,
        )
        for left, top in corners
    ]


def ellipse(
    center: tuple[float, float], radii: tuple[float, float]
) -> list[tuple[float, float]]:
    """An ellipse as a polygon of 720 corners, the first and last the same.

    It is made from the box around it, as datumaro does, to the last bit.
    """
    angles = np.linspace(0, 2 * np.pi, 720)
    ends = [(c - r, c + r) for c, r in zip(center, radii, strict=True)]
    (x, across), (y, down) = (
        (0.5 * (low + high), 0.5 * (high - low)) for low, high in ends
    )
    across = x + across * np.cos(angles)
    down = y + down * np.sin(angles)
    return list(zip(across.tolist(), down.tolist(), strict=True))
