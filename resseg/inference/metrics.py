"""Scores of a whole split, each computed once from counts summed over all its images.

The rule for absent classes, everywhere in this file: a class that stands neither in
the truth nor in the prediction has no score; it is NaN and left out of every mean. A
class that is predicted but never true scores 0 (its accuracy alone, a share of its true
pixels, stays NaN).
"""

from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

Array = TypeVar("Array", np.ndarray, jax.Array)


COPIES, MOST_BINS = 64, 2**20  # of the bins that pixels are counted in; in all of them


def confusion_matrix(
    labels: Array, predictions: Array, num_classes: int, void: int = 255
) -> Array:
    """Counts pixels by true and predicted class, on the host or under `jax.jit`.

    Args:
        labels: integers `[...]`, true classes: an array of numpy or of JAX.
        predictions: integers `[...]`, predicted classes: an array of the same kind.
        num_classes: classes; static under `jit`.
        void: label of pixels that are not counted.

    Returns:
        `[truth, prediction]`: int64 of numpy, or int32 of JAX, exact up to 2^31 - 1
        pixels a call; sum the matrices of several batches on the host in int64. A pixel
        whose label or prediction is no class is not counted either: the sum of the
        matrix says how many were.

    Example:
        >>> labels, predictions = jnp.array([0, 0, 1, 255]), jnp.array([0, 1, 1, 1])
        >>> confusion_matrix(labels, predictions, num_classes=2).tolist()
        [[1, 1], [0, 1]]
    """
    on_host = isinstance(labels, np.ndarray)
    # As uint8 they would wrap around in the cell's number.
    labels, predictions = labels.astype(np.int32), predictions.astype(np.int32)
    counted = (
        (labels != void)
        & (labels >= 0)
        & (labels < num_classes)
        & (predictions >= 0)
        & (predictions < num_classes)
    )
    cell = labels * num_classes + predictions
    counts: Any
    if on_host:
        counts = np.bincount(cell[counted], minlength=num_classes**2)
    else:
        # One more bin takes what is not counted, so that no shape depends on values.
        bins = num_classes**2 + 1
        cell = jnp.where(counted, cell, bins - 1).ravel()
        # A GPU counts in turns where neighbours, mostly of one class, meet in a bin.
        copies = max(1, min(COPIES, MOST_BINS // bins))
        copy = jnp.arange(cell.size, dtype=jnp.int32) % copies
        counts = jnp.bincount(cell + copy * bins, length=copies * bins)
        counts = counts.reshape(copies, bins).sum(0)[:-1]
    return counts.reshape(num_classes, num_classes)


def scores(confusion: np.ndarray) -> dict[str, float | np.ndarray]:
    """Scores a split from its one confusion matrix.

    Args:
        confusion: int64 `[truth, prediction]`, summed over the whole split. The mean
            IoU of a split is not the mean of its batches' mean IoUs.

    Returns:
        Shares in [0, 1], or NaN by the rule above. Numbers: `mean_iou`, `mean_dice`,
        `pixel_accuracy`, `mean_class_accuracy` (over classes that occur in the truth).
        float64 `[classes]`: `iou`, `dice`, `class_accuracy`.

    Example:
        >>> measured = scores(np.array([[1, 1], [0, 2]]))
        >>> measured["iou"].round(4).tolist(), round(float(measured["mean_iou"]), 4)
        ([0.5, 0.6667], 0.5833)
    """
    confusion = np.asarray(confusion)
    if confusion.ndim != 2 or confusion.shape[0] != confusion.shape[1]:
        raise ValueError(f"a confusion matrix is square, not {confusion.shape}")
    confusion = confusion.astype(np.int64)
    hits = np.diag(confusion)
    true = confusion.sum(axis=1)
    predicted = confusion.sum(axis=0)
    iou = _quotient(hits, true + predicted - hits)
    dice = _quotient(2 * hits, true + predicted)
    class_accuracy = _quotient(hits, true)
    return {
        "mean_iou": _mean(iou),
        "mean_dice": _mean(dice),
        "pixel_accuracy": float(_quotient(hits.sum(), confusion.sum())),
        "mean_class_accuracy": _mean(class_accuracy),
        "iou": iou,
        "dice": dice,
        "class_accuracy": class_accuracy,
    }


def boundary_counts(
    label: np.ndarray,
    prediction: np.ndarray,
    num_classes: int,
    fraction: float = 0.02,
    void: int = 255,
) -> np.ndarray:
    """Counts, for one image, how the boundary bands of each class overlap.

    The band of a class is that part of its region from which a square of `width` pixels
    to each side reaches outside of the region, `width` being `fraction` of the image
    diagonal, rounded, at least 1 (Cheng et al. 2021, and their published code). What
    lies outside of the image belongs to no class, so regions cut by the image border
    have a band along it. Void is treated as if it lay outside too: it is cut out of the
    truth *and* of the prediction before the bands are drawn, so void pixels count
    nowhere, a perfect prediction scores 1, and padding an image with void changes
    nothing but the diagonal. Give images at their own size for the paper's width.

    Args:
        label: integers `[height, width]`, true classes.
        prediction: integers `[height, width]`, predicted classes.
        num_classes: classes.
        fraction: width of the band as a share of the image diagonal.
        void: label of pixels that are left out.

    Returns:
        int64 `[classes, 2]`: pixels in both bands, pixels in either band. Sum over the
        images of a split, then call `boundary_scores`.
    """
    import cv2  # here, because the rest of this file runs where nothing is drawn

    if label.ndim != 2 or label.shape != prediction.shape:
        raise ValueError(
            f"label {label.shape} and prediction {prediction.shape} differ"
        )
    width = max(1, round(fraction * float(np.hypot(*label.shape))))
    square = np.ones((2 * width + 1, 2 * width + 1), np.uint8)

    def band(region: np.ndarray) -> np.ndarray:
        inner = cv2.erode(
            region.astype(np.uint8),
            square,
            borderType=cv2.BORDER_CONSTANT,
            borderValue=(0,),
        )
        return region & (inner == 0)

    valid = label != void
    counts = np.zeros((num_classes, 2), np.int64)
    for index in range(num_classes):
        truth = valid & (label == index)
        guess = valid & (prediction == index)
        if not (truth.any() or guess.any()):
            continue
        truth, guess = band(truth), band(guess)
        counts[index] = np.sum(truth & guess), np.sum(truth | guess)
    return counts


def boundary_scores(counts: np.ndarray) -> dict[str, float | np.ndarray]:
    """Boundary IoU of a split from `boundary_counts` summed over its images.

    Args:
        counts: int64 `[classes, 2]`, intersection and union.

    Returns:
        `boundary_iou`, float64 `[classes]`, and its mean `mean_boundary_iou`; absent
        classes by the rule above.
    """
    counts = np.asarray(counts)
    iou = _quotient(counts[:, 0], counts[:, 1])
    return {"mean_boundary_iou": _mean(iou), "boundary_iou": iou}


def _quotient(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """`part / whole` in float64, NaN where the whole is 0."""
    nothing = np.full(np.shape(whole), np.nan)
    return np.divide(part, whole, out=nothing, where=np.asarray(whole) > 0)


def _mean(values: np.ndarray) -> float:
    """Mean of what is not NaN; NaN, without numpy's warning, where nothing is left."""
    present = values[~np.isnan(values)]
    return float(present.mean()) if present.size else float("nan")
