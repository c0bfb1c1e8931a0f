"""Terms that weigh pixels by their distance from where a class begins.

Distances are exact and Euclidean, in pixels of the crop, within each image. They are
computed in the step, as what devices share and workers send stays images and labels. A
void pixel lies on neither side of a boundary; an image without one, as it lacks the
class or has nothing else, has distance 0 throughout.
"""

import jax
import jax.numpy as jnp

from resseg.training.losses.pixels import Pixels
from resseg.training.losses.settings import Settings

_FAR = 1 << 14  # beyond any image, and exact when squared


def distance_to(mask: jax.Array) -> jax.Array:
    """Distance of each pixel to the nearest that is set, `[batch, h, w, classes]`.

    First along rows, then the lower envelope over columns (Felzenszwalb & Huttenlocher
    2012, sec. 2), as a minimum over all rows: height² × width operations, which is no
    recursion. Where nothing is set it is large and means nothing.
    """
    height, width = mask.shape[1:3]
    columns = jnp.arange(width)[None, None, :, None]
    left = jax.lax.cummax(jnp.where(mask, columns, -_FAR), axis=2)
    right = jax.lax.cummin(jnp.where(mask, columns, width + _FAR), axis=2, reverse=True)
    along = jnp.minimum(columns - left, right - columns)
    along = jnp.minimum(along, _FAR).astype(jnp.float32) ** 2
    rows = jnp.arange(height, dtype=jnp.float32)[None, :, None, None]

    def envelope(row, nearest):
        from_there = jax.lax.dynamic_slice_in_dim(along, row, 1, axis=1)
        return jnp.minimum(nearest, from_there + (rows - row) ** 2)

    # A loop, as one reduction would compute `along` again for every row.
    squared = jax.lax.fori_loop(0, height, envelope, along)
    return jnp.sqrt(squared)


def to_other_side(inside: jax.Array, valid: jax.Array) -> jax.Array:
    """Distance of pixels to the nearest valid one on the other side of a boundary.

    Args:
        inside: `[batch, height, width, classes]`.
        valid: `[batch, height, width, 1]`.
    """
    inside, outside = inside & valid, valid & ~inside
    exists = jnp.any(inside, axis=(1, 2), keepdims=True)
    exists &= jnp.any(outside, axis=(1, 2), keepdims=True)
    distance = jnp.where(inside, distance_to(outside), distance_to(inside))
    return jnp.where(exists, distance, 0)


def _mean(per_class: jax.Array, pixels: Pixels, settings: Settings) -> jax.Array:
    """Over classes, weighed where they shall be, and valid pixels."""
    if settings.region_class_weights and pixels.weights is not None:
        weights = pixels.weights / pixels.weights.sum()
        return pixels.mean(jnp.sum(per_class * weights, axis=-1))
    return pixels.mean(jnp.mean(per_class, axis=-1))


def boundary(pixels: Pixels, settings: Settings) -> jax.Array:
    """Boundary loss, mean over classes of φ·p (Kervadec 2019, eq. 5).

    φ is the signed distance to the boundary of a class, as its authors discretise it:
    outside the distance to its nearest pixel, inside minus that to the nearest pixel
    of another, plus 1. The loss is negative where a class is found: it has no lower
    limit of its own, and is added to a term that has one.
    """
    valid = pixels.valid[..., None]
    distance = to_other_side(pixels.truth, valid)
    inside = jnp.where(distance > 0, 1 - distance, 0)
    signed = jnp.where(pixels.truth, inside, distance)
    return _mean(signed * jnp.exp(pixels.log_p), pixels, settings)


def hausdorff(pixels: Pixels, settings: Settings) -> jax.Array:
    """Hausdorff loss, mean over classes of (p - y)² · (d_p^power + d_y^power).

    Karimi & Salcudean 2019, eq. 8 (by distance transforms): d_y is the distance to the
    boundary of the class, d_p to that of where its probability is above one half, which
    is not differentiated.
    """
    valid = pixels.valid[..., None]
    p = jnp.exp(pixels.log_p)
    of_truth = to_other_side(pixels.truth, valid)
    predicted = to_other_side(jax.lax.stop_gradient(p) > 0.5, valid)
    power = settings.hausdorff_power
    weights = of_truth**power + predicted**power
    return _mean((p - pixels.truth) ** 2 * weights, pixels, settings)
