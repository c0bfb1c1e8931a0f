"""Region mutual information: what neighbouring pixels say together."""

import jax
import jax.numpy as jnp

from resseg.training.losses.pixels import Pixels
from resseg.training.losses.regions import mean_over_classes
from resseg.training.losses.settings import Settings

SIDE = 3  # of a region, cells
_RIDGE = 5e-4  # on the diagonals of covariances


def rmi(pixels: Pixels, settings: Settings) -> jax.Array:
    """Upper bound of minus the mutual information of labels and predictions by region.

    Zhao 2019, eq. 12 to 14. Labels and probabilities are averaged over cells of
    `rmi_stride` × `rmi_stride` pixels. The 3 × 3 cells of a region are a point of nine
    dimensions; with the covariances over the regions of an image, a class loses ½ log
    det (Σ_y - Σ_yp Σ_p⁻¹ Σ_ypᵀ) / 9. Mean over the classes that an image shows, then
    over images by their valid pixels. Regions that hold a void pixel are left out.
    Covariances are means over regions, in float32, with 5e-4 on their diagonals; the
    authors take sums, in float64. Added to a pixel-wise term, as there.
    """
    labels, p, valid = _cells(pixels, settings.rmi_stride)
    truth, guess, whole = _by_region(labels), _by_region(p), _by_region(valid)
    counted = jnp.all(whole, axis=-1, keepdims=True)  # [batch, regions, 1, 1]
    number = jnp.maximum(jnp.sum(counted, axis=1), 1)  # [batch, 1, 1]

    def centred(points):
        mean = jnp.sum(jnp.where(counted, points, 0), axis=1) / number
        return jnp.where(counted, points - mean[:, None], 0)

    shown = jnp.any(jnp.where(counted, truth, 0) > 0, axis=(1, 3))  # [batch, classes]
    both = jnp.concatenate([centred(guess), centred(truth)], axis=-1)
    summed = jnp.einsum("brci,brcj->bcij", both, both, precision="highest")
    covariance = summed / number[..., None]
    half_log_det = _log_det_of_rest(covariance, SIDE**2) / 2
    per_image = mean_over_classes(half_log_det / SIDE**2, shown, pixels, settings)
    return pixels.mean_over_images(per_image)


def _log_det_of_rest(covariance: jax.Array, given: int) -> jax.Array:
    """log det of what stays of the last dimensions once the first are explained.

    The product of the last pivots of an elimination, which is that of the Schur
    complement. In plain operations: a program that is kept on the disk cannot hold
    calls of LAPACK, which a process that does not trace it has not set up.

    Args:
        covariance: `[batch, classes, n, n]`, without the ridge.
        given: number of the first dimensions.
    """
    dimensions = covariance.shape[-1]
    left = covariance + _RIDGE * jnp.eye(dimensions)[None, None]

    def eliminate(left, number):
        row = jax.lax.dynamic_index_in_dim(left, number, axis=2, keepdims=False)
        pivot = jax.lax.dynamic_index_in_dim(row, number, axis=2, keepdims=True)
        explained = row[..., :, None] * (row / pivot)[..., None, :]
        return left - explained, pivot[..., 0]

    _, pivots = jax.lax.scan(eliminate, left, jnp.arange(dimensions))
    return jnp.log(pivots[given:]).sum(axis=0)


def _cells(pixels: Pixels, stride: int) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Means of labels and probabilities per cell, and whether all of it is valid."""
    valid = pixels.valid[..., None]

    def cells(values):
        batch, height, width, channels = values.shape
        rows, columns = height // stride, width // stride
        whole = values[:, : rows * stride, : columns * stride]
        return whole.reshape(batch, rows, stride, columns, stride, channels)

    p = jnp.where(valid, jnp.exp(pixels.log_p), 0)
    truth = pixels.truth.astype(p.dtype)
    labels, probabilities = (cells(of).mean(axis=(2, 4)) for of in (truth, p))
    return labels, probabilities, jnp.all(cells(valid), axis=(2, 4))


def _by_region(cells: jax.Array) -> jax.Array:
    """`[batch, rows, columns, classes]` to `[batch, regions, classes, 9]`."""
    batch, rows, columns, classes = cells.shape
    shifted = [
        cells[:, y : rows - SIDE + 1 + y, x : columns - SIDE + 1 + x]
        for y in range(SIDE)
        for x in range(SIDE)
    ]
    return jnp.stack(shifted, axis=-1).reshape(batch, -1, classes, SIDE * SIDE)
