"""One picture of the embedded data set, drawn object by object."""

import cv2
import numpy as np

from resseg.data.spec import VOID

DISC, SQUARE, TRIANGLE, RING, WIRE, STAR = range(1, 7)
DECOY = 0  # an object that is no object: background

# Stripes are upright or level, and checks are both: a flip keeps each what it is.
_TEXTURES = {
    DISC: "level",
    SQUARE: "upright",
    TRIANGLE: "checks",
    RING: "upright",
    WIRE: "plain",
    STAR: "checks",
    DECOY: "plain",
}
_COLORS = {
    DISC: (200, 96, 66),
    SQUARE: (70, 120, 190),
    TRIANGLE: (88, 160, 92),
    RING: (190, 150, 60),
    WIRE: (52, 48, 58),
    STAR: (236, 214, 120),
}
_PERIOD = 5.0  # of a texture, in units (see Scene)
_SHIFT = 4  # binary digits behind the point in OpenCV's polygon corners


class Scene:
    """A picture under construction; objects added later lie above earlier ones.

    One unit is a 96th of the shorter side, so scenes of any size look alike.
    """

    def __init__(self, rng: np.random.Generator, size: list[int], difficulty: float):
        self.rng = rng
        self.height, self.width = size
        self.unit = min(size) / 96
        self.difficulty = difficulty
        self.mask = np.zeros(size, np.uint8)
        ground = self._mixed((128, 120, 110))
        blotches = 26 * self._noise(9) + 16 * self._noise(24)
        self.image = ground + (0.3 + 0.7 * difficulty) * blotches[..., None]

    def add(self, kind: int) -> None:
        """Puts an object of a class, or a decoy, at a random place."""
        alpha = np.zeros((self.height, self.width), np.uint8)
        if kind == WIRE:
            self._wire(alpha)
        else:
            self._solid(alpha, kind)
        left, top, width, height = cv2.boundingRect(alpha)
        if not width:
            return
        box = np.s_[top : top + height, left : left + width]
        self._shadow(alpha)
        opacity = (alpha[box].astype(np.float32) / 255)[..., None]
        paint = self._paint(kind, left, top, width, height)
        self.image[box] += opacity * (paint - self.image[box])
        inside = alpha > 127
        self.mask[inside] = kind
        if kind not in (DECOY, WIRE) and self.rng.random() < 0.12:
            reach = max(1, round(self.unit))
            kernel = np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)
            band = cv2.morphologyEx(inside.astype(np.uint8), cv2.MORPH_GRADIENT, kernel)
            self.mask[band > 0] = VOID

    def glare(self) -> None:
        """A patch of light in which nothing can be told: void."""
        alpha = np.zeros((self.height, self.width), np.uint8)
        corners = self._around(self._place(), self.rng.uniform(6, 11), 24, wobble=0.3)
        cv2.fillPoly(alpha, [corners], 255, cv2.LINE_8, _SHIFT)
        self.mask[alpha > 0] = VOID
        soft = cv2.GaussianBlur(alpha, (0, 0), 2 * self.unit)
        self.image += (
            (soft.astype(np.float32) / 255)[..., None] * 0.9 * (245 - self.image)
        )

    def photograph(self) -> np.ndarray:
        """Uneven light and grain; uint8 `[height, width, 3]`."""
        rng, shape = self.rng, (self.height, self.width)
        slope = rng.uniform(-0.3, 0.3, 2) * (0.3 + 0.7 * self.difficulty)
        rows = np.linspace(-1, 1, self.height, dtype=np.float32)[:, None]
        columns = np.linspace(-1, 1, self.width, dtype=np.float32)
        light = 1 + np.float32(slope[0]) * rows + np.float32(slope[1]) * columns
        grain = rng.standard_normal((*shape, 3), np.float32)
        grain *= np.float32(2 + 8 * self.difficulty)
        image = self.image * light[..., None] + grain
        return np.clip(np.rint(image), 0, 255).astype(np.uint8)

    def _solid(self, alpha: np.ndarray, kind: int) -> None:
        rng = self.rng
        shape = kind
        if kind == DECOY:
            shape = rng.choice((DISC, SQUARE, TRIANGLE, RING))
        place, radius = self._place(), rng.uniform(9, 19)
        hole = None
        if shape == SQUARE:
            corners = self._around(place, radius * 1.1, 4, stretch=0.2)
        elif shape == TRIANGLE:
            corners = self._around(place, radius * 1.25, 3, wobble=0.12)
        elif shape == STAR:
            corners = self._around(place, rng.uniform(7, 9.5), 10, pointed=0.45)
        else:
            corners = self._around(place, radius, 32, stretch=0.12)
        if shape == RING:
            middle = np.rint(corners.mean(axis=0))
            hole = np.rint(middle + 0.5 * (corners - middle)).astype(np.int32)
        cv2.fillPoly(alpha, [corners], 255, cv2.LINE_AA, _SHIFT)
        if hole is not None:
            cv2.fillPoly(alpha, [hole], 0, cv2.LINE_AA, _SHIFT)

    def _wire(self, alpha: np.ndarray) -> None:
        # A cubic curve from one side of the picture to the other.
        rng, size = self.rng, np.array([self.width, self.height], np.float64)
        points = rng.uniform(0.05, 0.95, (4, 2))
        axis = rng.integers(2)
        points[:, axis] = (-0.05, 0.3, 0.7, 1.05)
        time = np.linspace(0, 1, 24)[:, None]
        weights = np.hstack(
            [
                (1 - time) ** 3,
                3 * time * (1 - time) ** 2,
                3 * time**2 * (1 - time),
                time**3,
            ]
        )
        curve = np.rint(2**_SHIFT * size * (weights @ points)).astype(np.int32)
        thickness = max(1, round(rng.uniform(1.6, 2.6) * self.unit))
        cv2.polylines(alpha, [curve], False, 255, thickness, cv2.LINE_AA, _SHIFT)

    def _around(
        self,
        place: np.ndarray,
        radius: float,
        number: int,
        *,
        wobble: float = 0.0,
        stretch: float = 0.0,
        pointed: float = 1.0,
    ) -> np.ndarray:
        """Corners of a turned polygon, in OpenCV's fixed-point pixels."""
        rng = self.rng
        angles = 2 * np.pi * np.arange(number) / number
        radii = np.full(number, radius * self.unit)
        radii[1::2] *= pointed
        radii *= 1 + wobble * np.sin(angles * rng.integers(1, 4) + rng.uniform(0, 6))
        points = radii[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=1)
        points[:, 0] *= 1 + rng.uniform(-stretch, stretch)
        turn = rng.uniform(0, 2 * np.pi)
        cos, sin = np.cos(turn), np.sin(turn)
        points = points @ np.array([[cos, sin], [-sin, cos]]) + place
        return np.rint(2**_SHIFT * points).astype(np.int32)

    def _place(self) -> np.ndarray:
        return self.rng.uniform(0.03, 0.97, 2) * (self.width, self.height)

    def _paint(self, kind: int, left, top, width, height) -> np.ndarray:
        """Colour and texture of an object within its box."""
        rng = self.rng
        color = self._mixed(_COLORS.get(kind, (130, 122, 114)))
        texture = _TEXTURES[kind]
        if texture == "plain":
            return (
                color
                + 10 * self._noise(14)[top : top + height, left : left + width, None]
            )
        period = _PERIOD * self.unit * rng.uniform(0.85, 1.15)
        phase = rng.uniform(0, 2 * np.pi, 2)
        rows = np.arange(top, top + height, dtype=np.float32)[:, None]
        columns = np.arange(left, left + width, dtype=np.float32)
        wave = np.ones((height, width), np.float32)
        if texture in ("level", "checks"):
            wave = wave * np.sin(2 * np.pi / period * rows + phase[0])
        if texture in ("upright", "checks"):
            wave = wave * np.sin(2 * np.pi / period * columns + phase[1])
        strength = min(1.0, 2 * self.difficulty) * rng.uniform(24, 40)
        if texture == "checks":
            strength *= 1.4
        return color + np.float32(strength) * wave[..., None].astype(np.float32)

    def _mixed(self, color: tuple[int, int, int]) -> np.ndarray:
        """A colour of the class, the more at random the harder the data set."""
        random = self.rng.uniform(50, 205, 3)
        mixed = (1 - self.difficulty) * np.array(color) + self.difficulty * random
        return mixed.astype(np.float32)

    def _noise(self, cells: int) -> np.ndarray:
        """Smooth noise about zero, `cells` to the shorter side, `[height, width]`."""
        spacing = 96 * self.unit / cells
        shape = [int(np.ceil(side / spacing)) + 1 for side in self.mask.shape]
        grid = self.rng.standard_normal(shape, np.float32)
        return cv2.resize(
            grid, (self.width, self.height), interpolation=cv2.INTER_CUBIC
        )

    def _shadow(self, alpha: np.ndarray) -> None:
        shift = max(1, round(2 * self.unit))
        fallen = np.zeros_like(alpha)
        fallen[shift:, shift:] = alpha[:-shift, :-shift]
        soft = cv2.blur(fallen, (2 * shift + 1, 2 * shift + 1))
        self.image *= (1 - soft.astype(np.float32) / 255 * 0.3)[..., None]
