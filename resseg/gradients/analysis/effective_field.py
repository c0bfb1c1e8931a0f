"""The effective receptive field: which pixels one unit of a feature listens to."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

# A pixel belongs to the field's area where e exceeds this share of its maximum (Luo
# 2016, section 3: the part of a Gaussian within two standard deviations).
AREA_THRESHOLD = 1 - 0.9545


class Extent(NamedTuple):
    """How far a field reaches, in pixels; squares weigh each pixel's share.

    Attributes:
        radius: root mean squared distance to the field's centre of mass.
        std_y, std_x: standard deviation along each axis.
        area: pixels above `AREA_THRESHOLD` of the largest.
    """

    radius: float
    std_y: float
    std_x: float
    area: int


def centre_field(
    feature: Callable[[jax.Array], jax.Array], images: jax.Array, signs: jax.Array
) -> jax.Array:
    """e(u) = |d y_centre / d x_u|^2, summed over the images: `[height, width]`.

    Args:
        feature: images -> `[batch, h, w, channels]`, each image by itself.
        images: `[batch, height, width, channels]`.
        signs: `[batch, channels]` of the feature; y is the sum, with these factors, of
            the unit in row h // 2, column w // 2. With random signs e is, in
            expectation, the sum of the fields of all channels.
    """

    def centre(images):
        y = feature(images)
        unit = y[:, y.shape[1] // 2, y.shape[2] // 2]
        return jnp.sum(unit * signs.astype(unit.dtype))

    return jnp.sum(jnp.square(jax.grad(centre)(images)), axis=(0, 3))


def extent(field: np.ndarray) -> Extent:
    """The extent of a field `[height, width]` of numbers >= 0; NaN where all are 0."""
    field = np.asarray(field, np.float64)
    total = field.sum()
    if not total > 0:
        return Extent(np.nan, np.nan, np.nan, 0)
    variances = []
    for axis in (0, 1):
        share = field.sum(axis=1 - axis) / total
        place = np.arange(len(share))
        variances.append(np.sum(share * (place - np.sum(share * place)) ** 2))
    area = int(np.sum(field > AREA_THRESHOLD * field.max()))
    std_y, std_x = np.sqrt(variances)
    return Extent(float(np.hypot(std_y, std_x)), float(std_y), float(std_x), area)


def coarse(field: np.ndarray, cells: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A field with at most `cells` cells per axis: sums, and the cells' centres.

    Returns:
        `[rows, columns]` sums of the field, the pixel rows of the cells' centres and
        the pixel columns.
    """
    sums, centres = np.asarray(field, np.float64), []
    for axis in (0, 1):
        size = sums.shape[axis]
        edges = np.arange(0, size, -(-size // cells))
        sums = np.add.reduceat(sums, edges, axis=axis)
        ends = np.append(edges[1:], size)
        centres.append((edges + ends - 1) / 2)
    return sums, centres[0], centres[1]
