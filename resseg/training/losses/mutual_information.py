"""Region mutual information: what neighbouring pixels say together."""

import jax
import jax.numpy as jnp
from jax.scipy.linalg import solve_triangular

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

    def covariance(one, other):
        summed = jnp.einsum("brci,brcj->bcij", one, other, precision="highest")
        return summed / number[..., None]

    shown = jnp.any(jnp.where(counted, truth, 0) > 0, axis=(1, 3))  # [batch, classes]
    truth, guess = centred(truth), centred(guess)
    ridge = _RIDGE * jnp.eye(SIDE * SIDE)[None, None]
    factor = jnp.linalg.cholesky(covariance(guess, guess) + ridge)
    explained = solve_triangular(factor, covariance(guess, truth), lower=True)
    left = covariance(truth, truth) - jnp.einsum(
        "bcki,bckj->bcij", explained, explained, precision="highest"
    )
    factor = jnp.linalg.cholesky(left + ridge)
    half_log_det = jnp.sum(jnp.log(jnp.diagonal(factor, axis1=2, axis2=3)), axis=-1)
    per_image = mean_over_classes(half_log_det / SIDE**2, shown, pixels, settings)
    return pixels.mean_over_images(per_image)


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
