"""Losses over labelled pixels; a void pixel takes part in none of them.

Each pixel-wise term is one quotient over the *global* batch:

    sum over valid pixels of (class weight × pixel loss)  ÷  number of valid pixels

The denominator counts pixels even where classes are weighted (torch would divide by the
sum of their weights). A batch full of rare classes then sends a larger gradient instead
of being scaled back, and the gradient norms of two runs, or of two batches, stay
comparable: what they were divided by is the number logged as `loss_pixels`. Terms that
look at one image at a time count it by its valid pixels; so they too are the same
however a batch is shared out. Those of `regions`, and `ohem`, look at a whole batch.
"""

import math
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from resseg.errors import UserError, choose
from resseg.training.losses import distances, mutual_information, pixels, regions
from resseg.training.losses.pixels import Pixels
from resseg.training.losses.settings import DEFAULT, Settings

Term = Callable[[Pixels, Settings], jax.Array]
TERMS: dict[str, Term] = {
    "cross_entropy": pixels.cross_entropy,
    "dice": regions.dice,
    "focal": pixels.focal,
    "ohem": pixels.ohem,
    "top_k": pixels.top_k,
    "jaccard": regions.jaccard,
    "tversky": regions.tversky,
    "lovasz": regions.lovasz,
    "boundary": distances.boundary,
    "hausdorff": distances.hausdorff,
    "rmi": mutual_information.rmi,
}

Parts = dict[str, jax.Array]
Loss = Callable[[jax.Array, jax.Array], tuple[jax.Array, Parts]]


def make_loss(
    terms: Mapping[str, float],
    *,
    num_classes: int,
    class_weights: ArrayLike | None = None,
    settings: Settings = DEFAULT,
    void: int = 255,
) -> Loss:
    """Builds the weighted sum of loss terms that a training step differentiates.

    Args:
        terms: weight of each of `TERMS` in the sum; at weight 0 it is not computed.
        num_classes: classes of the logits.
        class_weights: `[classes]`, factor on a pixel by its true class, in
            cross-entropy, focal loss and the selections; the terms that look at regions
            weigh classes evenly as they are. None = all one.
        settings: the numbers of the terms.
        void: label of pixels that are left out.

    Returns:
        `loss(logits [batch, height, width, classes] float32,
        labels [batch, height, width] int32) -> (scalar, parts)`, where `parts` holds
        each computed term before its weight and `loss_pixels`, the int32 number of
        valid pixels. A batch without valid pixels has loss 0 and gradient 0, and
        whatever stands in the logits under void, NaN included, changes nothing. A label
        that is neither a class nor `void` makes the loss NaN, and the gradient of every
        pixel that has a class and a part in it: such data must not train quietly.

    Raises:
        UserError: an unknown term, or a number out of range.
    """
    weights = _checked_terms(terms)
    per_class = _checked_class_weights(class_weights, num_classes)

    def loss(logits: jax.Array, labels: jax.Array) -> tuple[jax.Array, Parts]:
        if logits.shape != (*labels.shape, num_classes):
            raise ValueError(
                f"logits {logits.shape} do not fit labels {labels.shape} "
                f"and {num_classes} classes"
            )
        valid = labels != void
        count = jnp.sum(valid, dtype=jnp.int32)
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
        seen = Pixels(log_p, log_p_true, labels, truth, valid, count, per_class)
        parts = {name: TERMS[name](seen, settings) for name in TERMS if name in weights}
        stray = jnp.any(valid & ((labels < 0) | (labels >= num_classes)))
        alarm = jnp.where(stray, jnp.nan, 1.0)
        parts = {name: value * alarm for name, value in parts.items()}
        total = sum((weights[name] * parts[name] for name in parts), jnp.zeros(()))
        return total, parts | {"loss_pixels": count}

    return loss


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
