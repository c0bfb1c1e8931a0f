"""How well scores of a split are known: bootstrap intervals over its images.

Images are drawn with replacement and the whole split is scored again, from its counts:
1,000 times, with a fixed seed. The interval is bias-corrected and accelerated (BCa,
Efron 1987). It says how scores would vary with other images of the same kind; not how
they vary with the seed of the training, for which `resseg table` has intervals. Images
that belong together (frames of a video, slices of a volume) vary less than others do:
then the interval is too narrow.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy.special import ndtr, ndtri

from resseg.inference import calibration

LEVEL = 0.95
RESAMPLES = 1000
FEWEST = 20  # images; with fewer a bootstrap covers too little to be shown
_SEED = 0
_AT_ONCE = 2**22  # weights of resampled images in memory
_ROUNDING = 1e-12  # scores that differ by less are the same

Sums = Mapping[str, np.ndarray]


class Interval(NamedTuple):
    """Ends of 95 % intervals: numbers, or float64 `[classes]`.

    NaN where there is none: the score is not defined, or the same in all resamples.
    Where a class is missing in some resamples, they do not count for it.
    """

    low: Any
    high: Any


def scores_of_sums(sums: Sums) -> dict[str, np.ndarray]:
    """Those of `metrics.scores`, `boundary_scores` and calibration; axes lead.

    Args:
        sums: those of `PerImage.sums`, summed over images: `[..., classes]` and so on;
            what is not there is not scored.
    """
    scores = _of_masks(sums) if "hits" in sums else {}
    return scores | (calibration.scores_of_sums(sums) if "top" in sums else {})


def _of_masks(sums: Sums) -> dict[str, np.ndarray]:
    hits, true, predicted = sums["hits"], sums["true"], sums["predicted"]
    boundary = sums["boundary"]
    scores = {
        "iou": _share(hits, true + predicted - hits),
        "dice": _share(2 * hits, true + predicted),
        "class_accuracy": _share(hits, true),
        "boundary_iou": _share(boundary[..., 0], boundary[..., 1]),
    }
    scores |= {f"mean_{name}": _mean(value) for name, value in scores.items()}
    return scores | {"pixel_accuracy": _share(hits.sum(-1), true.sum(-1))}


def intervals(sums: Sums, resamples: int = RESAMPLES) -> dict[str, Interval]:
    """The interval of each score; none of fewer than 20 images.

    Args:
        sums: of `PerImage.sums`, with images in front.
        resamples: how many.
    """
    return _intervals([sums], resamples)


def differences(
    sums: Sums, others: Sums, resamples: int = RESAMPLES
) -> dict[str, Interval]:
    """The interval of each score of `others` less that of `sums`, paired.

    Both are scored on the same drawn images, so that what makes an image hard for both
    cancels.

    Raises:
        ValueError: they are not of equally many images.
    """
    return _intervals([sums, others], resamples)


def _intervals(of: Sequence[Sums], resamples: int) -> dict[str, Interval]:
    counts = {len(value) for sums in of for value in sums.values()}
    if len(counts) != 1:
        raise ValueError(f"counts of {sorted(counts)} images, expected of equally many")
    (images,) = counts
    if images < FEWEST:
        return {}
    totals = [{name: value.sum(0) for name, value in sums.items()} for sums in of]
    without = [
        {name: total[name] - value for name, value in sums.items()}
        for sums, total in zip(of, totals, strict=True)
    ]
    whole, left_out = _scores(totals), _scores(without)
    drawn = [
        _scores([_weighted(sums, weights) for sums in of])
        for weights in _weights(images, resamples)
    ]
    return {
        name: _bca(np.concatenate([part[name] for part in drawn]), whole[name], left)
        for name, left in left_out.items()
    }


def _scores(of: Sequence[Sums]) -> dict[str, np.ndarray]:
    """The scores of one run, or those of the second less those of the first."""
    first, *others = [scores_of_sums(sums) for sums in of]
    for other in others:
        return {name: other[name] - value for name, value in first.items()}
    return first


def _weights(images: int, resamples: int) -> Iterator[np.ndarray]:
    """float64 `[some, images]`: how often each image was drawn."""
    rng = np.random.default_rng(_SEED)
    at_once = max(1, _AT_ONCE // images)
    for begin in range(0, resamples, at_once):
        some = min(at_once, resamples - begin)
        yield rng.multinomial(images, np.full(images, 1 / images), some).astype(float)


def _weighted(sums: Sums, weights: np.ndarray) -> dict[str, np.ndarray]:
    return {name: np.tensordot(weights, value, 1) for name, value in sums.items()}


def _bca(drawn: np.ndarray, whole: np.ndarray, left_out: np.ndarray) -> Interval:
    """Ends of the interval.

    Args:
        drawn: `[resamples, ...]`.
        whole: `[...]`, the score itself.
        left_out: `[images, ...]`, the score without each image.
    """
    shape, tail = np.shape(whole), np.prod(np.shape(whole), dtype=int)
    columns = zip(
        drawn.reshape(-1, tail).T,
        np.reshape(whole, tail),
        left_out.reshape(-1, tail).T,
        strict=True,
    )
    ends = np.array([_ends(*column) for column in columns]).reshape(*shape, 2)
    return Interval(ends[..., 0], ends[..., 1])


def _ends(drawn: np.ndarray, whole: float, left_out: np.ndarray) -> tuple[float, float]:
    drawn, left_out = drawn[~np.isnan(drawn)], left_out[~np.isnan(left_out)]
    if np.isnan(whole) or not drawn.size or np.ptp(drawn) <= _ROUNDING:
        return np.nan, np.nan
    # Ties count half, as scores of few images take few values.
    below = (np.mean(drawn < whole) + np.mean(drawn <= whole)) / 2
    below = np.clip(below, 0.5 / drawn.size, 1 - 0.5 / drawn.size)
    bias, spread = ndtri(below), left_out.mean() - left_out
    scale = np.sum(spread**2) ** 1.5
    acceleration = np.sum(spread**3) / (6 * scale) if scale > 0 else 0.0
    tails = bias + ndtri([(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    shares = ndtr(bias + tails / (1 - acceleration * tails))
    low, high = np.quantile(drawn, shares)
    return float(low), float(high)


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    nothing = np.full(np.shape(whole), np.nan)
    return np.divide(part, whole, out=nothing, where=np.asarray(whole) > 0)


def _mean(values: np.ndarray) -> np.ndarray:
    """Over classes, of those that are defined; NaN where none is."""
    defined = ~np.isnan(values)
    return _share(np.nansum(values, -1), defined.sum(-1))
