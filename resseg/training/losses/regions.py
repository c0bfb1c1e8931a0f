"""Terms that judge each class by the region that it covers in the whole batch.

Sums run over the valid pixels of the batch, so a class that few images show is judged
where it is. A class that no pixel of the batch has is left out of the mean over
classes: its index is 0 whatever the network says.
"""

import jax
import jax.numpy as jnp

from resseg.training.losses.pixels import Pixels
from resseg.training.losses.settings import Settings


def mean_over_classes(
    values: jax.Array, present: jax.Array, pixels: Pixels, settings: Settings
) -> jax.Array:
    """Mean of `values` `[..., classes]` over the classes that are present, weighed.

    0 where there is none.
    """
    if settings.region_class_weights and pixels.weights is not None:
        weights = present * pixels.weights.reshape((1,) * (present.ndim - 1) + (-1,))
        total = jnp.sum(jnp.where(weights > 0, values * weights, 0), axis=-1)
        whole = jnp.sum(weights, axis=-1)
        return total / jnp.where(whole > 0, whole, 1)
    total = jnp.sum(jnp.where(present, values, 0), axis=-1)
    return total / jnp.maximum(jnp.sum(present, axis=-1), 1)


def _regions(pixels: Pixels) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Per class: overlap Σ p·y, probability Σ p, and number of pixels Σ y."""
    p = jnp.where(pixels.valid[..., None], jnp.exp(pixels.log_p), 0)
    truth = pixels.truth & pixels.valid[..., None]
    pixel_axes = tuple(range(pixels.valid.ndim))
    overlap = jnp.sum(jnp.where(truth, p, 0), axis=pixel_axes)
    count = jnp.sum(truth, axis=pixel_axes, dtype=jnp.int32)
    return overlap, jnp.sum(p, axis=pixel_axes), count


def _one_minus(index: jax.Array, present: jax.Array, pixels, settings) -> jax.Array:
    mean = mean_over_classes(index, present, pixels, settings)
    return jnp.where(jnp.any(present), 1 - mean, 0)


def dice(pixels: Pixels, settings: Settings) -> jax.Array:
    """Soft Dice loss, 1 - mean over classes of 2 Σ p·y / (Σ p + Σ y).

    Milletari 2016, sec. 3, with p and y in place of their squares.
    """
    overlap, mass, count = _regions(pixels)
    present = count > 0
    whole = mass + count.astype(mass.dtype)
    index = jnp.where(present, 2 * overlap / jnp.where(present, whole, 1), 0)
    return _one_minus(index, present, pixels, settings)


def jaccard(pixels: Pixels, settings: Settings) -> jax.Array:
    """Soft Jaccard loss, 1 - mean over classes of Σ p·y / (Σ p + Σ y - Σ p·y).

    Rahman & Wang 2016, eq. 3 to 5.
    """
    overlap, mass, count = _regions(pixels)
    present = count > 0
    union = mass + count.astype(mass.dtype) - overlap
    index = jnp.where(present, overlap / jnp.where(present, union, 1), 0)
    return _one_minus(index, present, pixels, settings)


def tversky(pixels: Pixels, settings: Settings) -> jax.Array:
    """Tversky loss, mean over classes of (1 - T)^(1 / gamma).

    T = Σ p·y / (Σ p·y + alpha Σ p·(1 - y) + beta Σ (1 - p)·y) (Salehi 2017, eq. 4);
    with gamma other than 1 the focal Tversky loss (Abraham & Khan 2019, eq. 4).
    """
    overlap, mass, count = _regions(pixels)
    present = count > 0
    false_positives = mass - overlap
    missed = count.astype(mass.dtype) - overlap
    whole = (
        overlap
        + settings.tversky_alpha * false_positives
        + settings.tversky_beta * missed
    )
    missing = 1 - overlap / jnp.where(present & (whole > 0), whole, 1)
    if settings.tversky_gamma != 1:
        # A power below 1 has no finite slope at 0.
        missing = jnp.maximum(missing, 1e-6) ** (1 / settings.tversky_gamma)
    return mean_over_classes(missing, present, pixels, settings)


def lovasz(pixels: Pixels, settings: Settings) -> jax.Array:
    """Lovász-softmax loss: the convex extension of the Jaccard loss of errors.

    Berman 2018, eq. 8 and 9, over classes that are present, all pixels of the batch as
    one image. The slope at the i-th largest error is what its pixel adds to the Jaccard
    loss of those before it: 1 / union where it has the class, else intersection /
    (union · (union - 1)), which is without a difference of nearly equal numbers.
    """
    p = jnp.exp(pixels.log_p)
    errors = _by_class(jnp.where(pixels.truth, 1 - p, p))
    valid = jnp.broadcast_to(pixels.valid.reshape(1, -1), errors.shape)
    truth = _by_class(pixels.truth) & valid
    void_last = jnp.where(valid, -jax.lax.stop_gradient(errors), 2.0)
    order = jnp.argsort(void_last, axis=1)
    truth, valid = (jnp.take_along_axis(of, order, axis=1) for of in (truth, valid))
    count = jnp.sum(truth, axis=1, dtype=jnp.int32)
    intersection = count[:, None] - jnp.cumsum(truth, axis=1, dtype=jnp.int32)
    union = count[:, None] + jnp.cumsum(valid & ~truth, axis=1, dtype=jnp.int32)
    intersection, union = intersection.astype(p.dtype), union.astype(p.dtype)
    without = intersection / jnp.maximum(union, 1) / jnp.maximum(union - 1, 1)
    slopes = jnp.where(truth, 1 / jnp.maximum(union, 1), without)
    of_pixel = jnp.put_along_axis(
        jnp.zeros_like(errors), order, jnp.where(valid, slopes, 0), 1, inplace=False
    )
    values = jnp.sum(errors * of_pixel, axis=1)
    return mean_over_classes(values, count > 0, pixels, settings)


def _by_class(values: jax.Array) -> jax.Array:
    """`[batch, height, width, classes]` to `[classes, pixels]`."""
    return values.reshape(-1, values.shape[-1]).T
