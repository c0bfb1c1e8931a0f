"""Augmentation of an image together with its mask.

Resize, turn and crop are one affine map, so each pixel is interpolated once and only
the pixels of the crop are computed. Masks take the nearest pixel, always.
"""

import dataclasses
import math
from collections.abc import Sequence

import cv2
import numpy as np

from resseg.data.spec import LONGEST_SIDE, VOID
from resseg.errors import UserError

_LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601


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
        image, mask = example["image"], example["mask"]
        scale = rng.uniform(*self.scale)
        degrees = rng.uniform(-self.rotate, self.rotate)
        pixel = None
        if rng.random() < self.rare_crop:
            pixel = rare_pixel(mask, self.rare_classes, rng)
        window = [side / scale for side in self.crop]
        corner = draw_corner(mask.shape, window, pixel, rng)
        matrix = crop_matrix(corner, self.crop, scale, degrees)
        image, mask = warp(image, mask, matrix, self.crop, self.mean)
        if rng.random() < self.flip:
            image, mask = image[:, ::-1], mask[:, ::-1]
        if rng.random() < self.vertical_flip:
            image, mask = image[::-1], mask[::-1]
        image = jitter_color(image, self.color, rng)
        return {
            "image": normalize(image, self.mean, self.std),
            "label": mask.astype(np.int32),
        }


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
    )


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
    if max(mask.shape) > LONGEST_SIDE:
        raise UserError(
            f"an image of {mask.shape[0]}x{mask.shape[1]} (height x width): no crop is "
            f"cut from sides beyond {LONGEST_SIDE}; prepare its tiles instead"
        )
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
    image[outside] = np.rint(255 * np.asarray(mean)).astype(np.uint8)
    sampled[outside] = VOID
    return image, sampled.astype(np.uint8)


def jitter_color(
    image: np.ndarray, strength: float, rng: np.random.Generator
) -> np.ndarray:
    """Changes brightness, then contrast, then saturation, by random factors.

    Args:
        image: RGB, 0 to 255, `[height, width, 3]`.
        strength: each factor is uniform in [1 - strength, 1 + strength]; 0 returns
            the image itself.
        rng: where the numbers come from.

    Returns:
        float32, clipped to 0 to 255.
    """
    if strength == 0:
        return image
    bright, contrast, saturation = rng.uniform(1 - strength, 1 + strength, 3)
    grey = float(_LUMA @ cv2.mean(image)[:3])
    # The three are affine in the colour, so together they are one 3 x 4 matrix.
    mix = saturation * np.eye(3) + (1 - saturation) * np.tile(_LUMA, (3, 1))
    shift = np.full((3, 1), (1 - contrast) * bright * grey)
    matrix = np.hstack([bright * contrast * mix, shift]).astype(np.float32)
    return np.clip(cv2.transform(image.astype(np.float32), matrix), 0, 255)


def normalize(
    image: np.ndarray, mean: Sequence[float], std: Sequence[float]
) -> np.ndarray:
    """(image / 255 - mean) / std as float32; the image runs from 0 to 255."""
    shift = 255 * np.asarray(mean, np.float32)
    factor = 1 / (255 * np.asarray(std, np.float32))
    return (image.astype(np.float32) - shift) * factor


def pad_to(
    image: np.ndarray, label: np.ndarray, height: int, width: int
) -> tuple[np.ndarray, np.ndarray]:
    """Pads right and bottom: a normalised image with 0, the mean; a label with void."""
    below, right = height - image.shape[0], width - image.shape[1]
    return (
        np.pad(image, ((0, below), (0, right), (0, 0))),
        np.pad(label, ((0, below), (0, right)), constant_values=VOID),
    )


def denormalize(
    image: np.ndarray, mean: Sequence[float], std: Sequence[float]
) -> np.ndarray:
    """The uint8 image that `normalize` was given, for pictures."""
    pixels = 255 * (image * np.asarray(std, np.float32) + np.asarray(mean, np.float32))
    return np.clip(np.rint(pixels), 0, 255).astype(np.uint8)
