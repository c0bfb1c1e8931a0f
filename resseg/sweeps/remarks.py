"""What a reader of a table must know besides its numbers, in sentences."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from resseg.sweeps import consistency
from resseg.sweeps.keys import pairs
from resseg.sweeps.measured import Measured
from resseg.sweeps.plan import Plan
from resseg.sweeps.rows import Row
from resseg.sweeps.statistics import LEVEL, largest_coverage


def unfinished(shown: Sequence[Measured]) -> list[str]:
    """What became of each run that is not finished; those that wait together, last."""
    sentences = [
        _became(each)
        for each in shown
        if not each.finished and each.state.word != "waiting"
    ]
    waiting = [each for each in shown if each.state.word == "waiting"]
    if len(waiting) > 1:
        ids = ", ".join(each.run.id for each in waiting)
        return [*sentences, f"{len(waiting)} runs wait: {ids}"]
    return [*sentences, *map(_became, waiting)]


def _became(each: Measured) -> str:
    run, state = each.run, each.state
    begun = state.word != "waiting" or state.step
    where = f" at step {state.step} of {run.steps}" if begun else ""
    message = f": {state.message}" if state.message else ""
    name = f" ({run.name})" if run.name else ""
    return f"{run.id}{name} {_VERBS[state.word]}{where}{message}"


_VERBS = {
    "failed": "failed",
    "running": "is running",
    "waiting": "waits",
    "preempted": "was preempted",
    "broken off": "was broken off",
}


def baseline(values: Mapping[str, Any], *, given: bool) -> str:
    """What differences are taken to."""
    what = pairs(values) or "the base config"
    why = "" if given else ", the first variant of the study, which names no BASELINE"
    return f"Differences are to runs of equal seed with {what}{why}."


def on_runs(sweep: Plan, shown: Sequence[Measured], metric: str) -> list[str]:
    """What differs that should not, and scores that are no numbers."""
    odd = [
        each.run.id
        for each in shown
        if each.finished and not math.isfinite(each.scores[metric])
    ]
    notes = consistency.differences(sweep, shown)
    if odd:
        notes.append(
            f"{metric} is not finite or not recorded in {', '.join(odd)}: "
            "a mean with such a run is none."
        )
    return notes


def on_pairs(rows: Sequence[Row]) -> list[str]:
    """Runs without a pair, and intervals that are too narrow for what they say."""
    notes = []
    for row in rows:
        single = 0 if row.difference is None else row.finished - row.difference.count
        if single:
            runs = (
                "1 finished run has" if single == 1 else f"{single} finished runs have"
            )
            notes.append(f"{row.name}: {runs} no finished baseline run.")
    counts = [
        row.difference.count
        for row in rows
        if row.difference is not None and not row.difference.why
    ]
    if counts and largest_coverage(min(counts)) < LEVEL:
        share = f"{largest_coverage(min(counts)):.1%}".replace(".0%", "%")
        notes.append(
            f"A bootstrap of {min(counts)} pairs cannot leave their range, which holds "
            f"the true median in {share} of sweeps: read its interval as too narrow "
            "(CSV has Student's too)."
        )
    return notes
