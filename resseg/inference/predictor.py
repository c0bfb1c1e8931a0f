"""Images of any size -> class probabilities and pictures."""

from pathlib import Path
from typing import Any

import cv2
import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

from resseg.architecture import padding_multiple
from resseg.data.colors import overlay, palette
from resseg.data.transforms import normalize
from resseg.inference.trained import Trained


class Predictor:
    """Class probabilities of single images; compiles once per padded size."""

    def __init__(self, trained: Trained):
        self._data = trained.config.data
        self._multiple = padding_multiple(trained.config.model)
        self._variables = jax.device_put(trained.variables)

        @jax.jit
        def probabilities(variables, images):
            outputs: Any = trained.model.apply(variables, images, train=False)
            return jax.nn.softmax(outputs["logits"])

        self._probabilities = probabilities

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """uint8 RGB `[height, width, 3]` -> float32 `[height, width, classes]`."""
        height, width = image.shape[:2]
        pixels = normalize(image, self._data.mean, self._data.std)
        padding = ((0, -height % self._multiple), (0, -width % self._multiple), (0, 0))
        padded = jnp.asarray(np.pad(pixels, padding)[None])
        result = jax.device_get(self._probabilities(self._variables, padded))
        return result[0, :height, :width]


def write_pictures(
    path: Path, image: np.ndarray, classes: np.ndarray, count: int
) -> None:
    """Writes `PATH.png` (class indices), `PATH_color.png` and `PATH_overlay.png`.

    Args:
        path: without a suffix; a dot in its name is none.
        image: uint8 RGB `[height, width, 3]`.
        classes: uint8 `[height, width]`.
        count: how many classes there are.
    """
    painted = overlay(image, classes, count)
    cv2.imwrite(f"{path}.png", classes)
    _write_colors(path.with_name(f"{path.name}_color.png"), classes, count)
    cv2.imwrite(f"{path}_overlay.png", painted[..., ::-1])


def _write_colors(path: Path, classes: np.ndarray, count: int) -> None:
    """A palette PNG: a viewer shows colours, Pillow reads the class indices.

    OpenCV reads the colours of a palette, so this cannot stand for the mask itself.
    """
    height, width = classes.shape
    picture = Image.frombytes("P", (width, height), classes.tobytes())
    picture.putpalette(palette(count).tobytes())
    picture.save(path)
