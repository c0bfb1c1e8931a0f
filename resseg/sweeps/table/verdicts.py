"""Whether the claims of a study hold, and the numbers that say so."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from resseg.sweeps.claims import Claim, groups, matches, selected
from resseg.sweeps.table.measured import MeasuredRun

HOLDS, FAILS, OPEN = "holds", "fails", "open"


class Mean(NamedTuple):
    """One side of a claim.

    Attributes:
        selector: the config values that select its runs.
        value: mean of the metric over those that are finished; NaN of none.
        finished, planned: how many runs.
    """

    selector: dict[str, Any]
    value: float
    finished: int
    planned: int


class ClaimPart(NamedTuple):
    """A claim for one combination of the values of its `each`.

    Attributes:
        group: that combination; {} without `each`.
        verdict: holds, fails, or open while a selected run is not finished.
        means: one per selector.
        value: the quotient of a ratio, the mean of a threshold; else None.
    """

    group: dict[str, Any]
    verdict: str
    means: tuple[Mean, ...]
    value: float | None


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
        """fails if any part does, else open if any is, else holds."""
        verdicts = {part.verdict for part in self.parts}
        return FAILS if FAILS in verdicts else OPEN if OPEN in verdicts else HOLDS

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
    """Compares means over all runs that the claim selects.

    A mean that is not a number fails the claim. One that a run is missing from leaves
    it open, even if the others have made up their minds.
    """
    parts = groups(claim, [each.config for each in measured])
    return Verdict(claim, tuple(_part(claim, group, measured) for group in parts))


def _part(
    claim: Claim, group: dict[str, Any], measured: Sequence[MeasuredRun]
) -> ClaimPart:
    means = tuple(
        _mean(claim, group, position, measured)
        for position in range(len(claim["selectors"]))
    )
    values = [mean.value for mean in means]
    if claim["kind"] == "ordering":
        value = None
        signs = -np.diff(values) if not claim["lower"] else np.diff(values)
        holds = bool((signs > 0).all())
    else:
        value = values[0]
        if claim["kind"] == "ratio":
            value = values[0] / values[1] if values[1] else np.nan
        holds = _within(value, claim["at_least"], claim["at_most"])
    whole = all(mean.finished == mean.planned for mean in means)
    verdict = OPEN if not whole else HOLDS if holds else FAILS
    return ClaimPart(group, verdict, means, value)


def _mean(
    claim: Claim, group: dict[str, Any], position: int, measured: Sequence[MeasuredRun]
) -> Mean:
    wanted = selected(claim, group, position)
    chosen = [
        each
        for each in measured
        if all(matches(each.config, selector) for selector in wanted)
    ]
    values = [each.scores[claim["metric"]] for each in chosen if each.finished]
    mean = float(np.mean(values)) if values else np.nan
    return Mean(claim["selectors"][position], mean, len(values), len(chosen))


def _within(value: float, at_least: float | None, at_most: float | None) -> bool:
    above = at_least is None or value >= at_least
    below = at_most is None or value <= at_most
    return above and below and not np.isnan(value)
