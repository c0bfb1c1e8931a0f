"""Augmentation of an image together with its mask.

First everything random is drawn, then pixels are made of it, where they belong in the
batch: no pixel that is not of the crop, and no array between the crop and the batch.
"""

import dataclasses
import functools
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import cv2
import numpy as np

from resseg.data.buffers import Buffers
from resseg.data.crops import crop_matrix, cut, draw_corner, rare_pixel, warp
from resseg.data.effects import NO_EFFECTS, DrawnEffects, Effects
from resseg.data.mixing import PARTNERS, UNMIXED, Mix, Mixing, mixed
from resseg.data.normalization import Normalizer

_LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601
_SAME, _GREY = np.eye(3), np.tile(_LUMA, (3, 1))  # matrices from colour to colour
_FLIPS = {(True, False): 1, (False, True): 0, (True, True): -1}  # across, down


class Drawn(NamedTuple):
    """A training crop before it has pixels: what was drawn for it.

    Attributes:
        image: that it is cut from, uint8 `[height, width, 3]`; only read.
        mask: uint8 `[height, width]`; only read.
        corner: row and column of its window.
        scale: factor of the resize.
        degrees: of the turn.
        across: whether it is flipped horizontally.
        down: whether it is flipped vertically.
        color: factors of brightness, contrast and saturation; None leaves them.
        effects: what else happens to its pixels.
        mix: how those of `partners` come among them.
        partners: of the same split; their own `color` and `mix` are not used.
    """

    image: np.ndarray
    mask: np.ndarray
    corner: tuple[int, int]
    scale: float
    degrees: float
    across: bool
    down: bool
    color: np.ndarray | None
    effects: DrawnEffects | None = None
    mix: Mix | None = None
    partners: tuple["Drawn", ...] = ()


@dataclasses.dataclass(frozen=True)
class TrainTransform:
    """From a stored image to a training crop; fields as in `config.data`.

    Attributes:
        crop: height and width of the crop, pixels.
        scale: smallest and largest factor of the resize before the crop.
        rotate: largest angle to either side, degrees.
        flip: probability of a horizontal flip.
        vertical_flip: probability of a vertical flip.
        color: strength of the colour jitter.
        rare_crop: probability that the crop is drawn around a rare-class pixel.
        rare_classes: class indices that are rare.
        mean: RGB mean, images in [0, 1].
        std: RGB deviation.
        effects: what else happens to the pixels of a crop.
        mixing: how often it is mixed with others.
    """

    crop: tuple[int, int]
    scale: tuple[float, float]
    rotate: float
    flip: float
    vertical_flip: float
    color: float
    rare_crop: float
    rare_classes: tuple[int, ...]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    effects: Effects = NO_EFFECTS
    mixing: Mixing = UNMIXED

    def __call__(self, example: dict, rng: np.random.Generator) -> dict:
        """Augments one image; every random number comes from `rng`.

        Args:
            example: `image` uint8 `[height, width, 3]`, `mask` uint8
                `[height, width]`, of any size.
            rng: of this example in this epoch.

        Returns:
            `image` float32 `[crop height, crop width, 3]`, normalised, and `label`
            int32 `[crop height, crop width]`.
        """
        batch = self.batch([self.draw(example, rng)], 1)
        return {name: array[0] for name, array in batch.items()}

    def draw(
        self,
        example: dict,
        rng: np.random.Generator,
        split: Any = (),
    ) -> Drawn:
        """Draws all that is random about a crop; see `__call__`.

        Args:
            example: as there.
            rng: as there.
            split: a sequence of examples, of which others are mixed in; read only then.
        """
        drawn = self._draw_one(example, rng)
        mix = self.mixing.draw(rng)
        if mix is None:
            return drawn
        places = rng.integers(len(split), size=PARTNERS[mix.kind])
        partners = tuple(self._draw_one(split[int(at)], rng) for at in places)
        return drawn._replace(mix=mix, partners=partners)

    def _draw_one(self, example: dict, rng: np.random.Generator) -> Drawn:
        image, mask = example["image"], example["mask"]
        scale = rng.uniform(*self.scale)
        degrees = rng.uniform(-self.rotate, self.rotate)
        pixel = None
        if rng.random() < self.rare_crop:
            pixel = rare_pixel(mask, self.rare_classes, rng)
        window = [side / scale for side in self.crop]
        corner = draw_corner(mask.shape, window, pixel, rng)
        across = rng.random() < self.flip
        down = rng.random() < self.vertical_flip
        color = draw_color(self.color, rng)
        effects = self.effects.draw(rng)
        return Drawn(image, mask, corner, scale, degrees, across, down, color, effects)

    def batch(self, drawn: Iterable[Drawn], size: int) -> dict[str, np.ndarray]:
        """Crops as they were drawn, each made in its place of the batch.

        Args:
            drawn: crops; each is made before the next is asked for, so that what an
                image is decoded into is used again, while caches still have it.
            size: how many there are.

        Returns:
            `image` float32 `[batch, crop height, crop width, 3]`, normalised, and
            `label` int32 `[batch, crop height, crop width]`.
        """
        shape = (size, *self.crop)
        pixels = self._buffers.empty((*shape, 3), np.uint8)
        masks = self._buffers.empty(shape, np.uint8)
        colors = []
        for crop, image, mask in zip(drawn, pixels, masks, strict=True):
            self._put(crop, image, mask)
            colors.append(crop.color)
        images = self._buffers.empty((*shape, 3), np.float32)
        if self.color:
            for image, factors, made in zip(pixels, colors, images, strict=True):
                jitter_color(image, factors, made)
                self._normalizer.scale(made)
        else:
            # At once: threads that each do little at a time wait for each other.
            rows = (-1, self.crop[1], 3)
            self._normalizer.put(pixels.reshape(rows), images.reshape(rows))
        labels = self._buffers.empty(shape, np.int32)
        labels[...] = masks
        return {"image": images, "label": labels}

    @functools.cached_property
    def _buffers(self) -> Buffers:
        return Buffers()

    @functools.cached_property
    def _normalizer(self) -> Normalizer:
        return Normalizer(self.mean, self.std)

    def _put(self, drawn: Drawn, image: np.ndarray, mask: np.ndarray) -> None:
        """Writes the bytes of a crop and of its mask into their places of a batch."""
        window = self._window(drawn)
        for whole, out in zip(window, (image, mask), strict=True):
            if drawn.across or drawn.down:
                cv2.flip(whole, _FLIPS[drawn.across, drawn.down], dst=out)
            else:
                out[...] = whole
        if drawn.effects is not None:
            image[...], mask[...] = self.effects.apply(
                drawn.effects, image, mask, self.mean
            )
        if drawn.mix is not None:
            others = map(self._alone, drawn.partners)
            image[...], mask[...] = mixed(drawn.mix, [(image, mask), *others])

    def _alone(self, drawn: Drawn) -> tuple[np.ndarray, np.ndarray]:
        """The bytes of a crop that is a partner, and of its mask."""
        image, mask = np.empty((*self.crop, 3), np.uint8), np.empty(self.crop, np.uint8)
        self._put(drawn, image, mask)
        return image, mask

    def _window(self, drawn: Drawn) -> tuple[np.ndarray, np.ndarray]:
        image, mask, corner, scale, degrees = drawn[:5]
        if scale == 1 and degrees == 0:
            return cut(image, mask, corner, self.crop, self.mean)
        matrix = crop_matrix(corner, self.crop, scale, degrees)
        return warp(image, mask, matrix, self.crop, self.mean)


def make_train_transform(data_config, rare_classes: Sequence[int]) -> TrainTransform:
    """The augmentation that `config.data` describes.

    Args:
        data_config: the `data` section of a config.
        rare_classes: the classes that `data_config.rare_crop` aims at.
    """
    height, width = data_config.crop
    smallest, largest = data_config.scale
    return TrainTransform(
        crop=(int(height), int(width)),
        scale=(float(smallest), float(largest)),
        rotate=float(data_config.rotate),
        flip=float(data_config.flip),
        vertical_flip=float(data_config.vertical_flip),
        color=float(data_config.color),
        rare_crop=float(data_config.rare_crop),
        rare_classes=tuple(int(index) for index in rare_classes),
        mean=tuple(data_config.mean),
        std=tuple(data_config.std),
        effects=_fields_of(Effects, data_config),
        mixing=_fields_of(Mixing, data_config),
    )


def _fields_of(kind: type, data_config) -> Any:
    names = [field.name for field in dataclasses.fields(kind)]
    return kind(**{name: data_config[name] for name in names})


def draw_color(strength: float, rng: np.random.Generator) -> np.ndarray | None:
    """Factors of brightness, contrast and saturation, or None where `strength` is 0.

    Each is uniform in [1 - strength, 1 + strength].
    """
    if strength == 0:
        return None
    return rng.uniform(1 - strength, 1 + strength, 3)


def jitter_color(image: np.ndarray, factors: np.ndarray, out: np.ndarray) -> None:
    """Changes brightness, then contrast, then saturation, clipped to 0 to 255.

    Args:
        image: RGB, uint8 `[height, width, 3]`.
        factors: as `draw_color` gives them, `[3]`.
        out: float32 of the image's shape, written.
    """
    bright, contrast, saturation = factors
    grey = float(_LUMA @ cv2.mean(image)[:3])
    # The three are affine in the colour, so together they are one 3 x 4 matrix.
    mix = saturation * _SAME + (1 - saturation) * _GREY
    matrix = np.empty((3, 4), np.float32)
    matrix[:, :3] = bright * contrast * mix
    matrix[:, 3] = (1 - contrast) * bright * grey
    cv2.transform(image.astype(np.float32), matrix, dst=out)
    np.clip(out, 0, 255, out=out)
