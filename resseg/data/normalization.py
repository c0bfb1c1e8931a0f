"""Images as a network sees them: (image / 255 - mean) / deviation, and back."""

from collections.abc import Sequence

import cv2
import numpy as np


class Normalizer:
    """Writes normalised images into arrays, to the bit as `normalize` makes them."""

    def __init__(self, mean: Sequence[float], std: Sequence[float]):
        """See `normalize`."""
        values = np.broadcast_to(np.arange(256, dtype=np.uint8)[:, None, None], _TABLE)
        self._table = normalize(values, mean, std)
        self._shift, self._factor = coefficients(mean, std)
        self._wide = np.empty((2, 0), np.float32)  # both, for a row of the last width

    def put(self, image: np.ndarray, out: np.ndarray) -> None:
        """Normalises an image of bytes: 256 values a channel, each computed once.

        Args:
            image: uint8 `[height, width, 3]`.
            out: float32 of that shape, written.
        """
        cv2.LUT(image, self._table, dst=out)

    def scale(self, image: np.ndarray) -> None:
        """Normalises contiguous float32 `[height, width, 3]`, 0 to 255, in place."""
        rows = image.reshape(len(image), -1)  # inner loops as long as a row, not of 3
        wide = self._wide
        if wide.shape[1] != rows.shape[1]:
            wide = np.tile((self._shift, self._factor), image.shape[1])
            self._wide = wide
        np.subtract(rows, wide[0], out=rows)
        np.multiply(rows, wide[1], out=rows)


def normalize(
    image: np.ndarray, mean: Sequence[float], std: Sequence[float]
) -> np.ndarray:
    """(image / 255 - mean) / std as float32; the image runs from 0 to 255."""
    shift, factor = coefficients(mean, std)
    return (image.astype(np.float32) - shift) * factor


def denormalize(
    image: np.ndarray, mean: Sequence[float], std: Sequence[float]
) -> np.ndarray:
    """The uint8 image that `normalize` was given, for pictures."""
    pixels = 255 * (image * np.asarray(std, np.float32) + np.asarray(mean, np.float32))
    return np.clip(np.rint(pixels), 0, 255).astype(np.uint8)


_TABLE = (256, 1, 3)  # as `cv2.LUT` takes it: an image of one column


def coefficients(
    mean: Sequence[float], std: Sequence[float]
) -> tuple[np.ndarray, np.ndarray]:
    """What is subtracted from 0 to 255, and the factor then, float32 `[3]` each."""
    shift = 255 * np.asarray(mean, np.float32)
    return shift, 1 / (255 * np.asarray(std, np.float32))
