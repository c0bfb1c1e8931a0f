"""Augmentation step by step, a whole array each: what the fast one has to equal."""

import cv2
import numpy as np

from resseg.data import VOID
from resseg.data.crops import crop_matrix, draw_corner, rare_pixel
from resseg.data.normalization import normalize

LUMA = np.array([0.299, 0.587, 0.114], np.float32)


class PlainTransform:
    """`TrainTransform` as it was before anything was drawn ahead or made in place."""

    def __init__(self, data, rare_classes):
        self.data, self.rare = data.copy_and_resolve_references(), rare_classes

    def __call__(self, example, rng):
        data, image, mask = self.data, example["image"], example["mask"]
        scale = rng.uniform(*data.scale)
        degrees = rng.uniform(-data.rotate, data.rotate)
        pixel = None
        if rng.random() < data.rare_crop:
            pixel = rare_pixel(mask, self.rare, rng)
        window = [side / scale for side in data.crop]
        corner = draw_corner(mask.shape, window, pixel, rng)
        matrix = crop_matrix(corner, data.crop, scale, degrees)
        image, mask = self.warp(image, mask, matrix)
        if rng.random() < data.flip:
            image, mask = image[:, ::-1], mask[:, ::-1]
        if rng.random() < data.vertical_flip:
            image, mask = image[::-1], mask[::-1]
        if data.color:
            image = self.jitter(image, rng)
        image = normalize(image, data.mean, data.std)
        return {"image": image, "label": mask.astype(np.int32)}

    def warp(self, image, mask, matrix):
        stride = np.sqrt(abs(np.linalg.det(matrix[:, :2])))
        if stride > 2:
            image = cv2.GaussianBlur(image, (0, 0), 0.4 * np.sqrt(stride**2 - 4))
        size, inverse = self.data.crop[::-1], cv2.WARP_INVERSE_MAP
        image = cv2.warpAffine(
            image,
            matrix,
            size,
            flags=cv2.INTER_LINEAR | inverse,
            borderMode=cv2.BORDER_REPLICATE,
        )
        mask = cv2.warpAffine(
            mask.astype(np.int16),
            matrix,
            size,
            flags=cv2.INTER_NEAREST | inverse,
            borderMode=cv2.BORDER_CONSTANT,
            borderValue=-1,
        )
        image[mask < 0] = np.rint(255 * np.asarray(self.data.mean)).astype(np.uint8)
        mask[mask < 0] = VOID
        return image, mask.astype(np.uint8)

    def jitter(self, image, rng):
        strength = self.data.color
        bright, contrast, saturation = rng.uniform(1 - strength, 1 + strength, 3)
        grey = float(LUMA @ cv2.mean(image)[:3])
        mix = saturation * np.eye(3) + (1 - saturation) * np.tile(LUMA, (3, 1))
        shift = np.full((3, 1), (1 - contrast) * bright * grey)
        matrix = np.hstack([bright * contrast * mix, shift]).astype(np.float32)
        return np.clip(cv2.transform(image.astype(np.float32), matrix), 0, 255)
