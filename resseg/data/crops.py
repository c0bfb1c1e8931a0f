"""Windows of an image and its mask: where they lie, and their pixels.

Resize, turn and crop are one affine map, so each pixel is interpolated once and only
the pixels of the crop are computed; a window of whole pixels is not even copied. Masks
take the nearest pixel, always.
"""

import math
from collections.abc import Sequence

import cv2
import numpy as np

from resseg.data.spec import LONGEST_SIDE, VOID
from resseg.errors import UserError


def rare_pixel(
    mask: np.ndarray, rare_classes: Sequence[int], rng: np.random.Generator
) -> tuple[int, int] | None:
    """Row and column of a random pixel of a random rare class that the mask shows."""
    present = [index for index in rare_classes if (mask == index).any()]
    if not present:
        return None
    places = np.flatnonzero(mask == present[rng.integers(len(present))])
    row, column = divmod(int(places[rng.integers(len(places))]), mask.shape[1])
    return row, column


def draw_corner(
    size: Sequence[int],
    window: Sequence[float],
    pixel: tuple[int, int] | None,
    rng: np.random.Generator,
) -> tuple[int, int]:
    """Draws the upper left corner of a crop window, in whole image pixels.

    A window that fits stays inside the image; along a side where it is larger, it
    holds the whole image. With a `pixel`, that pixel lies in the middle half of the
    window, or as near to it as the border of the image lets it.

    Args:
        size: height and width of the image.
        window: height and width of the window, in image pixels.
        pixel: row and column that the window has to hold.
        rng: where the numbers come from.

    Returns:
        Row and column; negative where the window begins outside the image.
    """
    corner = []
    for axis in range(2):
        spare = size[axis] - window[axis]
        low, high = math.ceil(min(0, spare)), math.floor(max(0, spare))
        if pixel is not None:
            first = math.ceil(pixel[axis] - 0.75 * window[axis])
            last = math.floor(pixel[axis] - 0.25 * window[axis])
            low, high = np.clip((first, max(first, last)), low, high)
        corner.append(int(rng.integers(low, high + 1)))
    return corner[0], corner[1]


def crop_matrix(
    corner: tuple[int, int], crop: tuple[int, int], scale: float, degrees: float
) -> np.ndarray:
    """Affine map from crop pixels (x, y) to image pixels, float64 `[2, 3]`.

    The window of `crop / scale` image pixels at `corner` is turned about its centre
    and resized to the crop. Pixels are squares, so the resize keeps the window's outer
    edges; without scale and angle, the map is a shift by whole pixels, exactly.
    """
    cos = math.cos(math.radians(degrees)) / scale
    sin = math.sin(math.radians(degrees)) / scale
    linear = np.array([[cos, -sin], [sin, cos]])
    half = np.array([crop[1], crop[0]]) / 2
    centre = np.array([corner[1], corner[0]]) + half / scale
    shift = centre - 0.5 + linear @ (0.5 - half)
    return np.column_stack([linear, shift])


def warp(
    image: np.ndarray,
    mask: np.ndarray,
    matrix: np.ndarray,
    crop: tuple[int, int],
    mean: Sequence[float],
) -> tuple[np.ndarray, np.ndarray]:
    """Samples a crop: the image bilinearly, the mask at the nearest pixel.

    What lies outside the image becomes the mean colour, and void.

    Args:
        image: uint8 `[height, width, 3]`.
        mask: uint8 `[height, width]`.
        matrix: from crop to image pixels, `[2, 3]`.
        crop: height and width of the crop.
        mean: RGB in [0, 1].

    Returns:
        uint8 `[crop height, crop width, 3]` and uint8 `[crop height, crop width]`.

    Raises:
        UserError: the image is too long for OpenCV.
    """
    check_size(mask)
    stride = math.sqrt(abs(np.linalg.det(matrix[:, :2])))
    if stride > 2:
        # Bilinear sampling reads two pixels a side; the ones between would alias.
        image = cv2.GaussianBlur(image, (0, 0), 0.4 * math.sqrt(stride**2 - 4))
    size = (crop[1], crop[0])
    image = cv2.warpAffine(
        image,
        matrix,
        size,
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        # A constant border would bleed half a pixel into an enlarged image.
        borderMode=cv2.BORDER_REPLICATE,
    )
    # -1 tells outside from void.
    sampled = cv2.warpAffine(
        mask.astype(np.int16),
        matrix,
        size,
        flags=cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=-1,
    )
    outside = sampled < 0
    image[outside] = _mean_color(mean)
    sampled[outside] = VOID
    return image, sampled.astype(np.uint8)


def cut(
    image: np.ndarray,
    mask: np.ndarray,
    corner: tuple[int, int],
    crop: tuple[int, int],
    mean: Sequence[float],
) -> tuple[np.ndarray, np.ndarray]:
    """What `warp` gives for a window that is neither resized nor turned.

    Args:
        image: uint8 `[height, width, 3]`.
        mask: uint8 `[height, width]`.
        corner: row and column of the window; negative where it begins outside.
        crop: height and width of the window.
        mean: RGB in [0, 1].

    Returns:
        uint8 `[crop height, crop width, 3]` and uint8 `[crop height, crop width]`;
        views of image and mask where the window lies inside.

    Raises:
        UserError: as `warp`.
    """
    check_size(mask)
    rows, columns = (
        slice(max(at, 0), at + n) for at, n in zip(corner, crop, strict=True)
    )
    image, mask = image[rows, columns], mask[rows, columns]
    if mask.shape == crop:
        return image, mask
    whole = np.full((*crop, 3), _mean_color(mean))
    labels = np.full(crop, VOID, np.uint8)
    down, right = max(-corner[0], 0), max(-corner[1], 0)
    place = slice(down, down + len(mask)), slice(right, right + mask.shape[1])
    whole[place], labels[place] = image, mask
    return whole, labels


def check_size(mask: np.ndarray) -> None:
    """Raises UserError where an image is too long for OpenCV."""
    if max(mask.shape) > LONGEST_SIDE:
        raise UserError(
            f"an image of {mask.shape[0]}x{mask.shape[1]} (height x width): no crop is "
            f"cut from sides beyond {LONGEST_SIDE}; prepare its tiles instead"
        )


def _mean_color(mean: Sequence[float]) -> np.ndarray:
    return np.rint(255 * np.asarray(mean)).astype(np.uint8)
