"""The embedded data set: procedural scenes with an exact mask.

Discs, squares, triangles and rings carry stripes or checks, hide each other and lie on
a blotchy ground under uneven light; thin wires cross them, a small star is rare. What
lacks the texture of its class is a decoy and belongs to the background, so that shape
and texture both count. As `difficulty` rises the colours of the classes run into each
other. Glare, and the outline of some objects, is void.

Each image follows from (seed, split, index) alone, so any part of the data set can be
drawn again, in any order.
"""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from resseg.data.spec import VOID
from resseg.data.writing import dataset_folder, is_complete, write_dataset
from resseg.errors import UserError

CLASSES = ("background", "disc", "square", "triangle", "ring", "wire", "star")
_DISC, _SQUARE, _TRIANGLE, _RING, _WIRE, _STAR = range(1, 7)
_DECOY = 0

_REVISION = 1  # one more whenever a scene is drawn differently: old images stay apart
_SPLITS = ("train", "val")

# Stripes are upright or level, and checks are both: a flip keeps each what it is.
_TEXTURES = {
    _DISC: "level",
    _SQUARE: "upright",
    _TRIANGLE: "checks",
    _RING: "upright",
    _WIRE: "plain",
    _STAR: "checks",
    _DECOY: "plain",
}
_COLORS = {
    _DISC: (200, 96, 66),
    _SQUARE: (70, 120, 190),
    _TRIANGLE: (88, 160, 92),
    _RING: (190, 150, 60),
    _WIRE: (52, 48, 58),
    _STAR: (236, 214, 120),
}
_STAR_SHARE = 0.45  # of the images that hold a star
_PERIOD = 5.0  # of a texture, in units (see _Scene)
_SHIFT = 4  # binary digits behind the point in OpenCV's polygon corners


def prepare(data_config) -> Path:
    """Folder of the data set that `config.data.shapes` describes; drawn on first use.

    Raises:
        UserError: a setting out of range, or a folder that cannot be written.
    """
    settings = _settings(data_config.shapes)
    digest = hashlib.sha256(json.dumps([_REVISION, settings]).encode()).hexdigest()
    folder = dataset_folder(data_config.dir, "shapes", digest[:12])
    if not is_complete(folder):
        counts = (settings["train_images"], settings["val_images"])
        splits = {
            split: lambda split=split, count=count: _split(settings, split, count)
            for split, count in zip(_SPLITS, counts, strict=True)
        }
        try:
            write_dataset(
                data_config.dir, "shapes", CLASSES, splits, variant=digest[:12]
            )
        except (OSError, UserError):
            # Another process, of the same sweep, may have been quicker.
            if not is_complete(folder):
                raise
    return folder


def draw(shapes_config, split: str, index: int) -> dict:
    """Draws one image.

    Args:
        shapes_config: `config.data.shapes`.
        split: "train" or "val".
        index: position in the split.

    Returns:
        `image` uint8 `[height, width, 3]`, `mask` uint8 `[height, width]`, `name`.
    """
    return _draw(_settings(shapes_config), split, index)


def _split(settings: dict, split: str, count: int) -> Iterator[dict]:
    for index in range(count):
        yield _draw(settings, split, index)


def _settings(shapes_config) -> dict:
    height, width = shapes_config.size
    settings = {
        "train_images": int(shapes_config.train_images),
        "val_images": int(shapes_config.val_images),
        "size": [int(height), int(width)],
        "objects": float(shapes_config.objects),
        "difficulty": float(shapes_config.difficulty),
        "seed": int(shapes_config.seed),
    }
    for key, least, most in (
        ("train_images", 1, 10**7),
        ("val_images", 1, 10**7),
        ("objects", 0, 200),
        ("difficulty", 0, 1),
        ("seed", 0, 2**63),
    ):
        if not least <= settings[key] <= most:
            value = f"config.data.shapes.{key}={settings[key]:g}"
            raise UserError(f"{value}: expected {least} to {most}")
    if min(settings["size"]) < 16:
        raise UserError(
            f"config.data.shapes.size={tuple(settings['size'])}: expected (height, "
            "width) of at least 16 pixels"
        )
    return settings


def _draw(settings: dict, split: str, index: int) -> dict:
    rng = np.random.default_rng([settings["seed"], _SPLITS.index(split), index])
    scene = _Scene(rng, settings["size"], settings["difficulty"])
    objects = settings["objects"]
    number = rng.integers(round(0.6 * objects), round(1.4 * objects) + 1)
    decoys = 0.2 * settings["difficulty"]
    kinds = list(
        rng.choice(
            (_DECOY, _DISC, _SQUARE, _TRIANGLE, _RING, _WIRE),
            size=number,
            p=(decoys, *4 * [0.215 * (1 - decoys)], 0.14 * (1 - decoys)),
        )
    )
    if rng.random() < _STAR_SHARE:
        kinds.insert(rng.integers(len(kinds) // 2, len(kinds) + 1), _STAR)
    for kind in kinds:
        scene.add(int(kind))
    if rng.random() < 0.4:
        scene.glare()
    image = scene.photograph()
    return {"image": image, "mask": scene.mask, "name": f"{split}-{index:05d}"}


class _Scene:
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
        if kind == _WIRE:
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
        if kind not in (_DECOY, _WIRE) and self.rng.random() < 0.12:
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
        if kind == _DECOY:
            shape = rng.choice((_DISC, _SQUARE, _TRIANGLE, _RING))
        place, radius = self._place(), rng.uniform(9, 19)
        hole = None
        if shape == _SQUARE:
            corners = self._around(place, radius * 1.1, 4, stretch=0.2)
        elif shape == _TRIANGLE:
            corners = self._around(place, radius * 1.25, 3, wobble=0.12)
        elif shape == _STAR:
            corners = self._around(place, rng.uniform(7, 9.5), 10, pointed=0.45)
        else:
            corners = self._around(place, radius, 32, stretch=0.12)
        if shape == _RING:
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
