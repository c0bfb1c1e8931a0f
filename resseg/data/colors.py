"""Colours of classes: a palette, a painted mask, a mask over its image."""

import colorsys

import numpy as np

from resseg.data.spec import VOID

# Okabe & Ito (2008), told apart under the common colour-vision deficiencies, after a
# dark slate for class 0, which is the background nearly everywhere.
_FIRST_COLORS = (
    (68, 78, 96),
    (230, 159, 0),
    (86, 180, 233),
    (0, 158, 115),
    (240, 228, 66),
    (0, 114, 178),
    (213, 94, 0),
    (204, 121, 167),
)


def palette(num_classes: int) -> np.ndarray:
    """Distinct colours, uint8 `[num_classes, 3]`, the same on every call.

    The first eight hold for colour-blind readers; further ones step the hue by the
    golden ratio through three lightness levels. Black is left to void.
    """
    colors = list(_FIRST_COLORS[:num_classes])
    index = 0
    while len(colors) < num_classes:
        hue = (0.61803398875 * index) % 1.0
        lightness = (0.38, 0.58, 0.76)[index % 3]
        red, green, blue = colorsys.hls_to_rgb(hue, lightness, 0.75)
        color = (round(255 * red), round(255 * green), round(255 * blue))
        if color not in colors:
            colors.append(color)
        index += 1
    return np.array(colors, np.uint8).reshape(-1, 3)


def colorize(mask: np.ndarray, num_classes: int) -> np.ndarray:
    """Paints a mask of class indices `[height, width]` as uint8 RGB.

    Void is black; an index that is neither a class nor void is bright magenta, so
    that a broken mask is seen.
    """
    table = np.full((256, 3), (255, 0, 255), np.uint8)
    table[:num_classes] = palette(num_classes)
    table[VOID] = 0
    return table[mask]


def overlay(
    image: np.ndarray, mask: np.ndarray, num_classes: int, alpha: float = 0.5
) -> np.ndarray:
    """Blends the painted mask over an image, `alpha` being the share of the mask.

    Args:
        image: uint8 RGB `[height, width, 3]`.
        mask: class indices `[height, width]`.

    Returns:
        uint8 RGB; void pixels are darkened, since void is painted black.
    """
    painted = colorize(mask, num_classes).astype(np.float32)
    return np.rint((1 - alpha) * image + alpha * painted).astype(np.uint8)
