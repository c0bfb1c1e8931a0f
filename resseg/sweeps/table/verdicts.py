"""Whether the claims of a study hold, and the numbers that say so."""

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from resseg.sweeps.claims import Claim, groups, matches, selected
from resseg.sweeps.keys import SEED
from resseg.sweeps.table.measured import MeasuredRun
from resseg.sweeps.table.statistics import Estimate, mean_interval, ratio_interval

HOLDS, FAILS, UNDECIDED = "holds", "fails", "undecided"


class Mean(NamedTuple):
    """One side of a claim.

    Attributes:
        selector: the config values that select its runs.
        value: mean of the metric over the seeds of the part; NaN of none.
        seeds: how many these are.
    """

    selector: dict[str, Any]
    value: float
    seeds: int


class ClaimPart(NamedTuple):
    """A claim for one combination of the values of its `each`.

    Attributes:
        group: that combination; {} without `each`.
        verdict: holds, fails or undecided.
        means: one per selector.
        estimates: what is judged, with Student's 95 % interval over the seeds: of an
            ordering the paired difference of each mean and the next; of a ratio the
            quotient; of a threshold the mean.
        seeds: those that every selector has, all of whose runs are finished.
        missing: the other seeds that any selector has.
    """

    group: dict[str, Any]
    verdict: str
    means: tuple[Mean, ...]
    estimates: tuple[Estimate, ...]
    seeds: tuple[Any, ...]
    missing: tuple[Any, ...]


class Verdict(NamedTuple):
    """A claim and what came out.

    Attributes:
        claim: as in sweep.json.
        parts: one per combination of the values of its `each`.
    """

    claim: Claim
    parts: tuple[ClaimPart, ...]

    @property
    def name(self) -> str:
        return self.claim["name"]

    @property
    def verdict(self) -> str:
        """fails if any part does, else undecided if any is, else holds."""
        return _worst([part.verdict for part in self.parts])

    @property
    def missing(self) -> bool:
        """Whether a part lacks a seed that is planned for it."""
        return any(part.missing for part in self.parts)

    @property
    def rule(self) -> str:
        """What is claimed of the numbers."""
        claim = self.claim
        if claim["kind"] == "ordering":
            return f"{claim['metric']}, {'lowest' if claim['lower'] else 'best'} first"
        bounds = [
            f"at {word} {claim[f'at_{word}']:g}"
            for word in ("least", "most")
            if claim[f"at_{word}"] is not None
        ]
        what = "ratio of " if claim["kind"] == "ratio" else ""
        return f"{what}{claim['metric']} {' and '.join(bounds)}"


def judge(claim: Claim, measured: Sequence[MeasuredRun]) -> Verdict:
    """Judges a claim by 95 % intervals over the seeds that all its selectors have.

    A selector's value at a seed is the mean over all of its runs with that seed. The
    claim holds where the whole interval agrees with it, fails where the whole interval
    contradicts it, and is undecided else: also where there is no interval, because of
    one seed, or of a score that is no number.
    """
    parts = groups(claim, [each.config for each in measured])
    return Verdict(claim, tuple(_part(claim, group, measured) for group in parts))


def _part(
    claim: Claim, group: dict[str, Any], measured: Sequence[MeasuredRun]
) -> ClaimPart:
    sides = [
        _by_seed(claim, group, position, measured)
        for position in range(len(claim["selectors"]))
    ]
    planned = sorted({seed for side in sides for seed in side})
    seeds = [s for s in planned if all(side.get(s) is not None for side in sides)]
    values = np.array([[side[s] for s in seeds] for side in sides], float)
    estimates, verdict = _JUDGES[claim["kind"]](claim, values)
    means = tuple(
        Mean(selector, float(own.mean()) if seeds else math.nan, len(seeds))
        for selector, own in zip(claim["selectors"], values, strict=True)
    )
    missing = tuple(seed for seed in planned if seed not in seeds)
    return ClaimPart(group, verdict, means, estimates, tuple(seeds), missing)


def _by_seed(
    claim: Claim, group: dict[str, Any], position: int, measured: Sequence[MeasuredRun]
) -> Mapping[Any, float | None]:
    """By seed the mean over a selector's runs; None where one is not finished."""
    wanted = selected(claim, group, position)
    runs: dict[Any, list[MeasuredRun]] = {}
    for each in measured:
        if all(matches(each.config, selector) for selector in wanted):
            runs.setdefault(each.config[SEED], []).append(each)
    return {
        seed: float(np.mean([each.scores[claim["metric"]] for each in alike]))
        if all(each.finished for each in alike)
        else None
        for seed, alike in runs.items()
    }


def _ordering(claim: Claim, values: np.ndarray) -> tuple[tuple[Estimate, ...], str]:
    estimates = tuple(
        mean_interval(list(first - second))
        for first, second in itertools.pairwise(values)
    )
    verdicts = []
    for estimate in estimates:
        low, high = sorted(_sign(claim) * end for end in _ends(estimate))
        verdicts.append(HOLDS if low > 0 else FAILS if high <= 0 else UNDECIDED)
    return estimates, _worst(verdicts)


def _sign(claim: Claim) -> int:
    return -1 if claim["lower"] else 1


def _ratio(claim: Claim, values: np.ndarray) -> tuple[tuple[Estimate, ...], str]:
    estimate = ratio_interval(list(values[0]), list(values[1]))
    return (estimate,), _within(claim, estimate)


def _threshold(claim: Claim, values: np.ndarray) -> tuple[tuple[Estimate, ...], str]:
    estimate = mean_interval(list(values[0]))
    return (estimate,), _within(claim, estimate)


_JUDGES = {"ordering": _ordering, "ratio": _ratio, "threshold": _threshold}


def _within(claim: Claim, estimate: Estimate) -> str:
    least = -math.inf if claim["at_least"] is None else claim["at_least"]
    most = math.inf if claim["at_most"] is None else claim["at_most"]
    low, high = _ends(estimate)
    if least <= low and high <= most:
        return HOLDS
    return FAILS if high < least or low > most else UNDECIDED


def _ends(estimate: Estimate) -> tuple[float, float]:
    """Of the interval; where all values are equal, that value; else NaN, NaN."""
    if estimate.same:
        return estimate.mean, estimate.mean
    return estimate.low, estimate.high


def _worst(verdicts: Sequence[str]) -> str:
    return next((v for v in (FAILS, UNDECIDED) if v in verdicts), HOLDS)
