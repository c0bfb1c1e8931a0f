"""Means over seeds with intervals, and differences between runs of equal seeds."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import stats

LEVEL = 0.95
PAIRS = 3  # from so many on, a difference has an interval
RESAMPLES = 9999
_ROUNDING = 1e-9  # relative: values that differ by less are equal
_SEED = 0  # of the resampling: the same runs give the same table


@dataclass(frozen=True)
class Estimate:
    """A mean, and how well it is known.

    Attributes:
        mean: of the values; NaN of none, and where any of them is NaN.
        low, high: ends of the 95 % interval, or NaN where there is none.
        count: of the values.
        why: why there is no interval, in a few words; "" where there is one.
    """

    mean: float
    low: float = math.nan
    high: float = math.nan
    count: int = 0
    why: str = ""

    @property
    def half(self) -> float:
        """Half the width of the interval."""
        return (self.high - self.low) / 2


def mean_interval(values: Sequence[float]) -> Estimate:
    """Student's interval for the mean of independent values, one per seed.

    There is none for fewer than two values, nor for equal ones, whose spread of 0 says
    that the seed does nothing rather than that the mean is known exactly.
    """
    estimate = _without_interval(values, 2)
    if estimate.why:
        return estimate
    count = len(values)
    error = float(np.std(values, ddof=1)) / math.sqrt(count)
    half = float(stats.t.ppf((1 + LEVEL) / 2, count - 1)) * error
    return replace(estimate, low=estimate.mean - half, high=estimate.mean + half)


def paired_interval(differences: Sequence[float]) -> Estimate:
    """The mean of differences between paired runs, with a bootstrap interval.

    Bias-corrected and accelerated (Efron 1987), from 9999 resamples drawn with a fixed
    seed. None for fewer than three pairs, which resampling cannot tell the spread of,
    nor for differences that are all equal. An interval of n pairs lies between the
    smallest and the largest of them: see `largest_coverage`.
    """
    estimate = _without_interval(differences, PAIRS)
    if estimate.why:
        return estimate
    interval = stats.bootstrap(
        (np.asarray(differences, float),),
        np.mean,
        n_resamples=RESAMPLES,
        confidence_level=LEVEL,
        method="BCa",
        rng=np.random.default_rng(_SEED),
    ).confidence_interval
    return replace(estimate, low=float(interval.low), high=float(interval.high))


def largest_coverage(pairs: int) -> float:
    """How often an interval within the range of n differences can hold the true one.

    All n lie on the same side of their median with probability 2^(1 - n); then no
    interval within their range holds it.
    """
    return 1 - 2.0 ** (1 - pairs)


def _without_interval(values: Sequence[float], least: int) -> Estimate:
    count = len(values)
    with np.errstate(invalid="ignore"):  # of infinities of both signs
        mean = float(np.mean(values)) if count else math.nan
    if count == 0:
        why = "none"
    elif not np.isfinite(values).all():
        why = "not finite"
    elif count < least:
        why = f"{count} only"
    elif max(values) - min(values) <= _ROUNDING * max(map(abs, values)):
        why = f"all {count} equal"
    else:
        why = ""
    return Estimate(mean, count=count, why=why)
