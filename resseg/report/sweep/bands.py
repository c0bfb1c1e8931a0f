"""Values of equal places, taken together over the seeds of a variant."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

POINTS = 120  # of a curve over training at most


class Band(NamedTuple):
    """Mean and range over seeds.

    Attributes:
        places: steps, or names of blocks.
        counts: how many seeds have a value there.
        mean, low, high: over these; NaN where a value is not finite, because a mean
            without a seed that diverged would be that of others.
    """

    places: tuple
    counts: tuple[int, ...]
    mean: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]


def band(seeds: Sequence[Mapping[Any, float]]) -> Band | None:
    """The band of one mapping, place -> value, per seed; None where all are empty.

    Places keep the order in which they are first met, steps are sorted.
    """
    places: list[Any] = list(dict.fromkeys(place for seed in seeds for place in seed))
    if all(isinstance(place, int) for place in places):
        places.sort()
    if not places:
        return None
    columns = []
    for place in places:
        values = [seed[place] for seed in seeds if place in seed]
        known = bool(np.isfinite(values).all())
        spread = (np.mean(values), min(values), max(values)) if known else (np.nan,) * 3
        columns.append((len(values), *map(float, spread)))
    return Band(tuple(places), *zip(*columns, strict=True))


def thin(points: Iterable[tuple[int, float]], steps: int) -> dict[int, float]:
    """Some of the points of a curve: the first of each of 120 spans of steps, the last.

    The spans depend on the planned number of steps alone, so that seeds keep the same
    steps however far each of them is.
    """
    kept: dict[int, float] = {}
    before = -1
    for step, value in points:
        span = math.ceil(step * POINTS / max(steps, 1))
        if span != before or step == steps:
            kept[step] = value
        before = span
    return kept
