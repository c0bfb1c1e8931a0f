"""Losses over labelled pixels; a void pixel takes part in none of them.

Each pixel-wise term is one quotient over the *global* batch:

    sum over valid pixels of (class weight × pixel loss)  ÷  number of valid pixels

The denominator counts pixels even where classes are weighted (torch would divide by the
sum of their weights). A batch full of rare classes then sends a larger gradient instead
of being scaled back, and the gradient norms of two runs, or of two batches, stay
comparable: what they were divided by is the number logged as `loss_pixels`.
"""

import math
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from resseg.errors import UserError, choose

TERMS = ("cross_entropy", "dice", "focal")

Parts = dict[str, jax.Array]
Loss = Callable[[jax.Array, jax.Array], tuple[jax.Array, Parts]]


def make_loss(
    terms: Mapping[str, float],
    *,
    num_classes: int,
    class_weights: ArrayLike | None = None,
    label_smoothing: float = 0.0,
    focal_gamma: float = 2.0,
    void: int = 255,
) -> Loss:
    """Builds the weighted sum of loss terms that a training step differentiates.

    Args:
        terms: weight of each of `TERMS` in the sum; at weight 0 it is not computed.
        num_classes: classes of the logits.
        class_weights: `[classes]`, factor on a pixel by its true class, in
            cross-entropy and focal loss; Dice weighs classes evenly as it is.
            None = all one.
        label_smoothing: share of the target spread evenly over all classes, in
            cross-entropy only.
        focal_gamma: focusing exponent of the focal loss.
        void: label of pixels that are left out.

    Returns:
        `loss(logits [batch, height, width, classes] float32,
        labels [batch, height, width] int32) -> (scalar, parts)`, where `parts` holds
        each computed term before its weight and `loss_pixels`, the int32 number of
        valid pixels. A batch without valid pixels has loss 0 and gradient 0, and
        whatever stands in the logits under void, NaN included, changes nothing. A label
        that is neither a class nor `void` makes the loss NaN, and the gradient of every
        pixel with a class: such data must not train quietly.

    Raises:
        UserError: an unknown term, or a number out of range.
    """
    weights = _checked_terms(terms)
    if not 0.0 <= label_smoothing < 1.0:
        raise UserError(f"loss.label_smoothing={label_smoothing!r}: expected [0, 1)")
    if not 0.0 <= focal_gamma < math.inf:
        raise UserError(f"loss.focal_gamma={focal_gamma!r}: expected a number >= 0")
    per_class = _checked_class_weights(class_weights, num_classes)  # [1, 1, 1, c]

    def loss(logits: jax.Array, labels: jax.Array) -> tuple[jax.Array, Parts]:
        if logits.shape != (*labels.shape, num_classes):
            raise ValueError(
                f"logits {logits.shape} do not fit labels {labels.shape} "
                f"and {num_classes} classes"
            )
        valid = labels != void
        pixels = jnp.sum(valid, dtype=jnp.int32)
        # Cut off before any arithmetic: 0 × NaN further down would be NaN again.
        logits = jnp.where(valid[..., None], logits, 0)
        # As `log_softmax`; but what stands of the true class is picked before the mass
        # is taken off, which in the gradient saves two passes over all classes.
        above = logits - jax.lax.stop_gradient(logits.max(axis=-1, keepdims=True))
        mass = jnp.log(jnp.exp(above).sum(axis=-1, keepdims=True))
        log_p = above - mass
        # A comparison leaves void all zero, and XLA fuses it; an index would gather.
        classes = jax.lax.broadcasted_iota(jnp.int32, logits.shape, logits.ndim - 1)
        truth = labels[..., None] == classes
        log_p_true = jnp.sum(jnp.where(truth, above, 0), axis=-1) - mass[..., 0]

        def mean_over_valid(pixel_loss: jax.Array) -> jax.Array:
            if per_class is not None:
                pixel_loss *= jnp.sum(truth * per_class, axis=-1)
            total = jnp.sum(jnp.where(valid, pixel_loss, 0))
            return total / jnp.maximum(pixels, 1).astype(total.dtype)

        parts: Parts = {}
        if "cross_entropy" in weights:
            pixel_loss = _cross_entropy(log_p, log_p_true, label_smoothing)
            parts["cross_entropy"] = mean_over_valid(pixel_loss)
        if "dice" in weights:
            parts["dice"] = _dice(jnp.exp(log_p), truth, valid)
        if "focal" in weights:
            parts["focal"] = mean_over_valid(_focal(log_p_true, focal_gamma))

        stray = jnp.any(valid & ((labels < 0) | (labels >= num_classes)))
        alarm = jnp.where(stray, jnp.nan, 1.0)
        parts = {name: value * alarm for name, value in parts.items()}
        total = sum((weights[name] * parts[name] for name in parts), jnp.zeros(()))
        return total, parts | {"loss_pixels": pixels}

    return loss


def _cross_entropy(
    log_p: jax.Array, log_p_true: jax.Array, smoothing: float
) -> jax.Array:
    """Cross-entropy of each pixel against a smoothed target (Szegedy 2016, sec. 7)."""
    if smoothing == 0.0:
        return -log_p_true
    return -(1 - smoothing) * log_p_true - smoothing * jnp.mean(log_p, axis=-1)


def _focal(log_p_true: jax.Array, gamma: float) -> jax.Array:
    """Focal loss of each pixel, (1 - p)^gamma × -log p (Lin 2017, eq. 4)."""
    # 1 - p has no digits left near p = 1; a power below 1 has no finite slope at 0.
    tiny = jnp.finfo(log_p_true.dtype).tiny
    missing = jnp.maximum(-jnp.expm1(log_p_true), tiny)
    return -(missing**gamma) * log_p_true


def _dice(p: jax.Array, truth: jax.Array, valid: jax.Array) -> jax.Array:
    """Soft Dice loss, 1 - mean over classes of 2 Σ p·y / (Σ p + Σ y).

    The sums run over the valid pixels of the whole batch, so a class that few images
    show is judged where it is. A class that no pixel of the batch has is left out of
    the mean: its quotient is 0 whatever the network says. Milletari 2016, sec. 3, with
    p and y in place of their squares.
    """
    p = jnp.where(valid[..., None], p, 0)
    truth = truth & valid[..., None]
    pixel_axes = tuple(range(valid.ndim))
    overlap = jnp.sum(jnp.where(truth, p, 0), axis=pixel_axes)
    count = jnp.sum(truth, axis=pixel_axes, dtype=jnp.int32)
    mass = jnp.sum(p, axis=pixel_axes) + count.astype(p.dtype)
    present = count > 0
    quotient = jnp.where(present, 2 * overlap / jnp.where(present, mass, 1), 0)
    classes = jnp.sum(present)
    mean = jnp.sum(quotient) / jnp.maximum(classes, 1)
    return jnp.where(classes > 0, 1 - mean, 0)


def _checked_terms(terms: Mapping[str, float]) -> dict[str, float]:
    """The terms that are switched on, as plain numbers."""
    for name, weight in terms.items():
        choose("loss.terms", name, TERMS)
        if not 0.0 <= weight < math.inf:
            raise UserError(f"loss.terms.{name}={weight!r}: expected a number >= 0")
    weights = {name: float(weight) for name, weight in terms.items() if weight > 0}
    if not weights:
        listed = ", ".join(TERMS)
        raise UserError(
            f"loss.terms: no term has a weight above 0; set one of {listed}"
        )
    return weights


def _checked_class_weights(
    class_weights: ArrayLike | None, num_classes: int
) -> np.ndarray | None:
    if class_weights is None:
        return None
    values = np.asarray(class_weights, np.float32)
    if values.shape != (num_classes,):
        raise UserError(
            f"loss.class_weights: expected {num_classes} numbers, one per class, "
            f"not an array of shape {values.shape}"
        )
    if not (np.all(np.isfinite(values)) and np.all(values >= 0)):
        raise UserError(f"loss.class_weights={values.tolist()}: expected numbers >= 0")
    return values.reshape(1, 1, 1, num_classes)
