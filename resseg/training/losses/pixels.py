"""Terms of one loss per pixel, and those that keep the hardest pixels."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from resseg.training.losses.settings import Settings


class Pixels(NamedTuple):
    """What terms read of a batch.

    Attributes:
        log_p: `[batch, height, width, classes]`, logarithms of the probabilities.
        log_p_true: `[batch, height, width]`, those of the true classes.
        labels: `[batch, height, width]`, int32.
        truth: `[batch, height, width, classes]`, whether a class is the true one.
        valid: `[batch, height, width]`, whether a pixel is labelled.
        number: of valid pixels, int32.
        weights: of the classes, `[1, 1, 1, classes]`, or None where they count alike.
    """

    log_p: jax.Array
    log_p_true: jax.Array
    labels: jax.Array
    truth: jax.Array
    valid: jax.Array
    number: jax.Array
    weights: np.ndarray | None

    def mean(self, pixel_loss: jax.Array) -> jax.Array:
        """Sum of a loss over the valid pixels by their number."""
        total = jnp.sum(jnp.where(self.valid, pixel_loss, 0))
        return total / jnp.maximum(self.number, 1).astype(total.dtype)

    def weighted(self, pixel_loss: jax.Array) -> jax.Array:
        """The loss of each pixel times the weight of its true class."""
        if self.weights is None:
            return pixel_loss
        return pixel_loss * jnp.sum(self.truth * self.weights, axis=-1)

    def mean_over_images(self, image_loss: jax.Array) -> jax.Array:
        """Mean over images `[batch]`, each by its number of valid pixels."""
        counts = jnp.sum(self.valid, axis=(1, 2), dtype=jnp.int32)
        total = jnp.sum(jnp.where(counts > 0, image_loss * counts, 0))
        return total / jnp.maximum(self.number, 1).astype(total.dtype)


def cross_entropy(pixels: Pixels, settings: Settings) -> jax.Array:
    """Cross-entropy, of a target that may be smoothed.

    `label_smoothing` spreads a share evenly over the classes (Szegedy 2016, sec. 7).
    `boundary_smoothing` gives a share to the classes of the eight neighbours of a
    pixel, each by a Gaussian of one pixel: the target is soft where classes meet and
    one-hot elsewhere. At 0.5 it is the 3 x 3 spatially varying label smoothing of Islam
    & Glocker 2021, sec. 2.2. A neighbour that is void, or outside of the image, counts
    as the pixel itself.
    """
    return pixels.mean(pixels.weighted(_cross_entropy(pixels, settings)))


def _cross_entropy(pixels: Pixels, settings: Settings) -> jax.Array:
    loss = -pixels.log_p_true
    share = settings.boundary_smoothing
    if share:
        loss = (1 - share) * loss + share * _neighbours(pixels)
    uniform = settings.label_smoothing
    if uniform:
        mean = jnp.mean(pixels.log_p, axis=-1)
        loss = (1 - uniform) * loss - uniform * mean
    return loss


def _neighbours(pixels: Pixels) -> jax.Array:
    """Cross-entropy of each pixel against the classes of its neighbours."""
    classes = jnp.arange(pixels.log_p.shape[-1])[None, None, None]
    own = jnp.where(pixels.valid, pixels.labels, -1)
    _, height, width = own.shape
    padded = jnp.pad(own, ((0, 0), (1, 1), (1, 1)), constant_values=-1)
    around = [(y, x) for y in range(3) for x in range(3) if (y, x) != (1, 1)]
    gauss = np.exp([-((y - 1) ** 2 + (x - 1) ** 2) / 2 for y, x in around])
    target = jnp.zeros_like(pixels.log_p)
    for (y, x), weight in zip(around, gauss / gauss.sum(), strict=True):
        beside = padded[:, y : y + height, x : x + width]
        beside = jnp.where(beside < 0, own, beside)
        target += weight * (beside[..., None] == classes)
    # A class that cannot be has log p = -inf, which 0 times does not remove.
    return -jnp.sum(jnp.where(target > 0, target * pixels.log_p, 0), axis=-1)


def focal(pixels: Pixels, settings: Settings) -> jax.Array:
    """Focal loss, (1 - p)^gamma × -log p of the true class (Lin 2017, eq. 4)."""
    # 1 - p has no digits left near p = 1; a power below 1 has no finite slope at 0.
    tiny = jnp.finfo(pixels.log_p_true.dtype).tiny
    missing = jnp.maximum(-jnp.expm1(pixels.log_p_true), tiny)
    loss = -(missing**settings.focal_gamma) * pixels.log_p_true
    return pixels.mean(pixels.weighted(loss))


def ohem(pixels: Pixels, settings: Settings) -> jax.Array:
    """Cross-entropy of the hard pixels of the whole batch, by their number.

    Hard are those whose true class has a probability below `ohem_threshold`; where they
    are fewer than the share `ohem_min_kept` of the valid pixels, the hardest of that
    share. Of pixels that are equally hard as many are kept as it takes: none at the
    limit is lost, as where all are equal. Online bootstrapping of Wu 2016, sec. 2.3;
    over the batch and not per image, as there. Pixels are chosen before classes are
    weighed.
    """
    hardness = jnp.where(pixels.valid, -pixels.log_p_true, -jnp.inf).reshape(-1)
    losses = pixels.weighted(_cross_entropy(pixels, settings)).reshape(-1)
    _, hardest_first = jax.lax.sort((-hardness, losses), num_keys=1)
    # exp, and not the logarithm of a threshold that may be 0.
    below = pixels.valid & (jnp.exp(pixels.log_p_true) < settings.ohem_threshold)
    least = _share_of(pixels.number, settings.ohem_min_kept)
    kept = jnp.maximum(jnp.sum(below, dtype=jnp.int32), least)
    chosen = jnp.arange(losses.size) < kept
    total = jnp.sum(jnp.where(chosen, hardest_first, 0))
    return total / jnp.maximum(kept, 1).astype(total.dtype)


def top_k(pixels: Pixels, settings: Settings) -> jax.Array:
    """Mean cross-entropy of the pixels of each image with the largest.

    The share `top_k_share` of its valid pixels, as in the hard pixel mining of
    DeeperLab (Yang 2019, sec. 3.3) and Panoptic-DeepLab; images count by their valid
    pixels. Classes are weighed before pixels are chosen.
    """
    batch = pixels.valid.shape[0]
    losses = pixels.weighted(_cross_entropy(pixels, settings))
    losses = jnp.where(pixels.valid, losses, -jnp.inf).reshape(batch, -1)
    largest_first = -jnp.sort(-losses, axis=1)
    counts = jnp.sum(pixels.valid, axis=(1, 2), dtype=jnp.int32)
    kept = _share_of(counts, settings.top_k_share)
    chosen = jnp.arange(losses.shape[1])[None] < kept[:, None]
    total = jnp.sum(jnp.where(chosen, largest_first, 0), axis=1)
    return pixels.mean_over_images(total / jnp.maximum(kept, 1))


def _share_of(count: jax.Array, share: float) -> jax.Array:
    """The nearest whole number, at least 1 of any."""
    nearest = jnp.round(share * count).astype(jnp.int32)
    return jnp.clip(nearest, jnp.minimum(count, 1), count)
