"""What happens to the pixels of a crop after it is cut: distortions, colours, noise.

As everywhere in augmentation, first all that is random is drawn, in the order of the
fields, and nothing for what is off: a run without effects draws what it always drew.
"""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np

from resseg.data.spec import VOID

_CELLS = 5  # of a distorted grid, per side
_SEEDS = 2**63


class DrawnEffects(NamedTuple):
    """What was drawn for a crop; None where an effect is off.

    Attributes:
        elastic: seed of the displacements.
        grid: shifts of the lines between cells, shares of a cell, `[2, lines]`.
        gamma: exponent.
        hue: shift, share of the circle.
        blur: deviation of the Gaussian, pixels.
        noise: deviation of the noise, grey levels, and its seed.
        jpeg: quality.
        cutout: row and column of the square's centre, shares of the crop.
    """

    elastic: int | None = None
    grid: np.ndarray | None = None
    gamma: float | None = None
    hue: float | None = None
    blur: float | None = None
    noise: tuple[float, int] | None = None
    jpeg: int | None = None
    cutout: tuple[float, float] | None = None


@dataclasses.dataclass(frozen=True)
class Effects:
    """How strong they are at most; fields as in `config.data`, 0 = off.

    Attributes:
        elastic: deviation of the displacements, pixels (Simard 2003, sec. 2).
        elastic_scale: deviation of the Gaussian that smooths them, pixels.
        grid_distortion: lines between the 5 x 5 cells of a grid move by up to that
            share of a cell.
        gamma: colours in [0, 1] to a power between 1 - gamma and 1 + gamma.
        hue: shift to either side, share of the circle.
        blur: deviation of a Gaussian, pixels.
        noise: deviation of Gaussian noise, share of the range of colours.
        jpeg: lowest quality of a compression, up to 100.
        cutout: side of a square that is cut out, share of the crop's shorter side; void
            and mean colour there (DeVries & Taylor 2017).
    """

    elastic: float = 0.0
    elastic_scale: float = 16.0
    grid_distortion: float = 0.0
    gamma: float = 0.0
    hue: float = 0.0
    blur: float = 0.0
    noise: float = 0.0
    jpeg: int = 0
    cutout: float = 0.0

    def draw(self, rng: np.random.Generator) -> DrawnEffects | None:
        """All that is random; None where everything is off."""
        drawn = DrawnEffects(
            elastic=int(rng.integers(_SEEDS)) if self.elastic else None,
            grid=(
                rng.uniform(-1, 1, (2, _CELLS - 1)) * self.grid_distortion
                if self.grid_distortion
                else None
            ),
            gamma=rng.uniform(1 - self.gamma, 1 + self.gamma) if self.gamma else None,
            hue=rng.uniform(-self.hue, self.hue) if self.hue else None,
            blur=rng.uniform(0, self.blur) if self.blur else None,
            noise=(
                (rng.uniform(0, 255 * self.noise), int(rng.integers(_SEEDS)))
                if self.noise
                else None
            ),
            jpeg=int(rng.integers(self.jpeg, 101)) if self.jpeg else None,
            cutout=(rng.random(), rng.random()) if self.cutout else None,
        )
        return None if all(effect is None for effect in drawn) else drawn

    def apply(
        self,
        drawn: DrawnEffects,
        image: np.ndarray,
        mask: np.ndarray,
        mean: Sequence[float],
    ) -> tuple[np.ndarray, np.ndarray]:
        """A crop with its effects, in new arrays where anything changes.

        Args:
            drawn: what `draw` gave.
            image: uint8 `[height, width, 3]`; only read.
            mask: uint8 `[height, width]`; only read.
            mean: RGB in [0, 1], of what is nowhere in the image.
        """
        if drawn.elastic is not None:
            image, mask = displace(image, mask, self._displacements(drawn, mask), mean)
        if drawn.grid is not None:
            image, mask = displace(image, mask, _grid(drawn.grid, mask.shape), mean)
        image = _colors(drawn, image)
        if drawn.blur:
            image = cv2.GaussianBlur(image, (0, 0), max(drawn.blur, 1e-3))
        if drawn.noise is not None:
            image = _noisy(image, *drawn.noise)
        if drawn.jpeg is not None:
            image = _compressed(image, drawn.jpeg)
        if drawn.cutout is not None:
            image, mask = self._cut_out(drawn.cutout, image, mask, mean)
        return image, mask

    def _displacements(self, drawn: DrawnEffects, mask: np.ndarray) -> np.ndarray:
        normal = np.random.default_rng(drawn.elastic).standard_normal(
            (*mask.shape, 2), np.float32
        )
        smooth = cv2.GaussianBlur(normal, (0, 0), self.elastic_scale)
        return smooth * (self.elastic / max(float(smooth.std()), 1e-12))

    def _cut_out(
        self,
        centre: tuple[float, float],
        image: np.ndarray,
        mask: np.ndarray,
        mean: Sequence[float],
    ) -> tuple[np.ndarray, np.ndarray]:
        side = max(round(self.cutout * min(mask.shape)), 1)
        window = []
        for share, length in zip(centre, mask.shape, strict=True):
            start = int(share * length) - side // 2
            window.append(slice(max(start, 0), max(start + side, 0)))
        image, mask = image.copy(), mask.copy()
        image[tuple(window)] = np.rint(255 * np.asarray(mean))
        mask[tuple(window)] = VOID
        return image, mask


NO_EFFECTS = Effects()


def displace(
    image: np.ndarray, mask: np.ndarray, by: np.ndarray, mean: Sequence[float]
) -> tuple[np.ndarray, np.ndarray]:
    """Each pixel from where its displacement points: bilinear, masks the nearest.

    What lies outside becomes the mean colour, and void.

    Args:
        image: uint8 `[height, width, 3]`.
        mask: uint8 `[height, width]`.
        by: float32 `[height, width, 2]`, x and y, pixels.
        mean: RGB in [0, 1].
    """
    rows, columns = np.indices(mask.shape, np.float32)
    x, y = columns + by[..., 0], rows + by[..., 1]
    moved = cv2.remap(image, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    sampled = cv2.remap(
        mask.astype(np.int16),
        x,
        y,
        cv2.INTER_NEAREST,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=-1,
    )
    outside = sampled < 0
    moved[outside] = np.rint(255 * np.asarray(mean))
    sampled[outside] = VOID
    return moved, sampled.astype(np.uint8)


def _grid(shifts: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """Displacements that move the lines of a grid; its frame stays."""
    along = []
    for line, length in zip(shifts, shape[::-1], strict=True):
        nodes = np.linspace(0, length - 1, _CELLS + 1)
        moved = np.zeros(_CELLS + 1)
        moved[1:-1] = line * (length - 1) / _CELLS
        along.append(np.interp(np.arange(length), nodes, moved))
    x, y = np.meshgrid(*along)
    return np.stack([x, y], axis=-1).astype(np.float32)


def _colors(drawn: DrawnEffects, image: np.ndarray) -> np.ndarray:
    if drawn.gamma is not None:
        levels = 255 * (np.arange(256) / 255) ** drawn.gamma
        image = cv2.LUT(image, np.rint(levels).astype(np.uint8))
    if drawn.hue is not None:
        hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV_FULL)
        shift = round(256 * drawn.hue) % 256
        hsv[..., 0] += np.uint8(shift)  # it is a circle of 256, as uint8 is
        image = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB_FULL)
    return image


def _noisy(image: np.ndarray, deviation: float, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    noise = rng.standard_normal(image.shape, np.float32) * deviation
    return np.clip(np.rint(image + noise), 0, 255).astype(np.uint8)


def _compressed(image: np.ndarray, quality: int) -> np.ndarray:
    # OpenCV takes the first channel for blue, and blue is stored coarser.
    _, stored = cv2.imencode(
        ".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality]
    )
    return np.asarray(cv2.imdecode(stored, cv2.IMREAD_COLOR_RGB))
