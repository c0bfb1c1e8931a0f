"""Pixels of a batch counted by their probabilities, on the device."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import cv2
import jax
import jax.numpy as jnp
import numpy as np

from resseg.inference import probability_bins as binned

PARTS = 2  # of an image: the interior, the boundary band
_LEAST = 1e-37  # above what is no normal float32


class Counted(NamedTuple):
    """What is counted of a batch on the device.

    Attributes:
        top: int32 `[batch, part, wrong or right, FINE]`, pixels by the probability of
            the predicted class; parts are the interior and the boundary band.
        classes: int32 `[part, class, other or this, FINE]`, pixels of the batch by the
            probability of each class, and whether it is the truth.
        nll: float32 `[batch, height, width]`, -log p(truth); anything where void.
        brier: float32 `[batch, height, width]`, squared error summed over classes.
    """

    top: jax.Array
    classes: jax.Array
    nll: jax.Array
    brier: jax.Array


def count(
    probabilities: jax.Array,
    predictions: jax.Array,
    labels: jax.Array,
    band: jax.Array,
) -> Counted:
    """Counts a batch, under `jax.jit`.

    Args:
        probabilities: float32 `[batch, height, width, classes]`; one of less than 1e-37
            counts as that in NLL.
        predictions: integers `[batch, height, width]`.
        labels: integers `[batch, height, width]`; what is no class is void.
        band: bool `[batch, height, width]`, see `boundary_band`.
    """
    images, *_, classes = probabilities.shape
    predictions = predictions.astype(jnp.int32)
    counted = (labels >= 0) & (labels < classes)
    true = jnp.where(counted, labels, 0)
    part = band.astype(jnp.int32)
    sure = jnp.take_along_axis(probabilities, predictions[..., None], -1)[..., 0]
    image = jax.lax.broadcasted_iota(jnp.int32, labels.shape, 0)
    row = (image * PARTS + part) * 2 + (predictions == true)
    top = _histogram(row, sure, counted, images * PARTS * 2)
    each = jax.lax.broadcasted_iota(jnp.int32, probabilities.shape, 3)
    is_true = labels[..., None] == each
    row = (part[..., None] * classes + each) * 2 + is_true
    by_class = _histogram(row, probabilities, counted[..., None], PARTS * classes * 2)
    of_truth = jnp.take_along_axis(probabilities, true[..., None], -1)[..., 0]
    return Counted(
        top.reshape(images, PARTS, 2, binned.FINE),
        by_class.reshape(PARTS, classes, 2, binned.FINE),
        -jnp.log(jnp.maximum(of_truth, _LEAST)),
        jnp.square(probabilities - is_true).sum(-1),
    )


def _histogram(
    row: jax.Array, probability: jax.Array, counted: jax.Array, rows: int
) -> jax.Array:
    """int32 `[rows * FINE]`: pixels by row and bin."""
    length = rows * binned.FINE
    cell = row * binned.FINE + binned.fine_bin(probability)
    cell = jnp.where(counted, cell, length).ravel()
    return jnp.zeros(length, jnp.int32).at[cell].add(1, mode="drop")


def boundary_band(label: np.ndarray, fraction: float) -> np.ndarray:
    """bool `[height, width]`: pixels that have another label within reach.

    As in `metrics.boundary_counts` that is a square of as many pixels to each side as
    `fraction` of the image diagonal, at least 1. Void is another label; what lies
    outside of the image is none, as nothing is uncertain at its border.

    Args:
        label: uint8 or int32 `[height, width]`.
        fraction: width of the band as a share of the image diagonal.
    """
    width = max(1, round(fraction * float(np.hypot(*label.shape))))
    square = np.ones((2 * width + 1, 2 * width + 1), np.uint8)
    label = label.astype(np.uint8)
    return cv2.dilate(label, square) != cv2.erode(label, square)


def boundary_bands(batch: Mapping[str, Any], fraction: float) -> np.ndarray:
    """That of each image of a batch, at its own size: bool `[batch, height, width]`."""
    labels = batch["label"][: len(batch["size"])]
    bands = np.zeros(labels.shape, bool)
    for label, band, (height, width) in zip(labels, bands, batch["size"], strict=True):
        if height and width:  # a batch may be filled up with images of no pixel
            band[:height, :width] = boundary_band(label[:height, :width], fraction)
    return bands
