"""What besides the swept keys differs between the runs of a sweep, in sentences."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from resseg.sweeps.keys import pairs
from resseg.sweeps.plan import Plan
from resseg.sweeps.table import data_sets, remarks
from resseg.sweeps.table.measured import MeasuredRun
from resseg.sweeps.table.rows import Row, common_seeds, identity

_NAMED = 3  # runs that a sentence lists


def differences(sweep: Plan, measured: Sequence[MeasuredRun]) -> list[str]:
    """One sentence for every key, version or device in which runs should agree."""
    begun = [each for each in measured if each.stored is not None]
    return [
        *_keys_not_swept(sweep, begun),
        *_not_as_planned(sweep, begun),
        *data_sets.differences(begun),
        *_starts(begun),
        *_networks(begun),
    ]


def _keys_not_swept(sweep: Plan, begun: Sequence[MeasuredRun]) -> list[str]:
    """From the config that each run was trained with, not from the one planned."""
    keys = dict.fromkeys(key for each in begun for key in each.stored or ())
    sentences = []
    for key in sorted(set(keys) - set(sweep.swept)):
        values = _by_value(begun, lambda each, key=key: _typed(each.stored, key))
        if len(values) > 1:
            listed = "; ".join(f"{v} in {_runs(r)}" for v, r in values.items())
            sentences.append(f"Runs also differ in {key}, which no run sets: {listed}.")
    return sentences


def _not_as_planned(sweep: Plan, begun: Sequence[MeasuredRun]) -> list[str]:
    return [
        f"{each.run.id} was trained with {key}={_typed(each.stored, key)}, planned is "
        f"{_typed(each.config, key)}."
        for each in begun
        for key in sweep.swept
        if _typed(each.stored, key) != _typed(each.config, key)
    ]


def _starts(begun: Sequence[MeasuredRun]) -> list[str]:
    """Of versions and devices, every start of a run counts."""
    pairs = [(each, start) for each in begun for start in each.starts]
    sentences = []
    for what, read in _ENVIRONMENT.items():
        by_value: dict[str, list[MeasuredRun]] = {}
        for each, start in pairs:
            by_value.setdefault(read(start), []).append(each)
        if len(by_value) > 1:
            listed = "; ".join(f"{v} in {_runs(r)}" for v, r in by_value.items())
            sentences.append(f"Runs are not all of one {what}: {listed}.")
    dirty = [each for each, start in pairs if (start["git"] or {}).get("dirty")]
    if dirty:
        sentences.append(
            f"The code had changes that no commit holds in {_runs(dirty)}."
        )
    return sentences


_ENVIRONMENT: dict[str, Callable[[dict[str, Any]], str]] = {
    "version of resseg": lambda start: str(start["packages"]["resseg"]),
    "version of JAX": lambda start: str(start["packages"]["jax"]),
    "commit": lambda start: (start["git"] or {"commit": "unknown"})["commit"][:10],
    "kind of device": lambda start: str(start["devices"]["kind"]),
}


def _networks(begun: Sequence[MeasuredRun]) -> list[str]:
    """Runs of one structure are one network."""
    sentences = []
    for structure in dict.fromkeys(each.run.structure for each in begun):
        alike = [each for each in begun if each.run.structure == structure]
        known = [each for each in alike if each.cost.params is not None]
        by_value = _by_value(known, lambda each: f"{each.cost.params:,}")
        if len(by_value) > 1:
            listed = "; ".join(f"{v} in {_runs(r)}" for v, r in by_value.items())
            sentences.append(f"Equal configs have other numbers of weights: {listed}.")
    return sentences


def _by_value(
    measured: Sequence[MeasuredRun], read: Callable[[MeasuredRun], str]
) -> dict[str, list[MeasuredRun]]:
    by_value: dict[str, list[MeasuredRun]] = {}
    for each in measured:
        by_value.setdefault(read(each), []).append(each)
    return by_value


def _typed(config: dict[str, Any] | None, key: str) -> str:
    return json.dumps(config[key]) if config and key in config else "missing"


def _runs(measured: Sequence[MeasuredRun]) -> str:
    """How many, and which if they are few."""
    ids = list(dict.fromkeys(each.run.id for each in measured))
    word = "1 run" if len(ids) == 1 else f"{len(ids)} runs"
    return f"{word} ({', '.join(ids)})" if len(ids) <= _NAMED else word


def unfinished(chosen: Sequence[MeasuredRun]) -> list[str]:
    """What became of each run that is not finished; those that wait together, last."""
    sentences = [
        _became(each)
        for each in chosen
        if not each.finished and each.state.word != "waiting"
    ]
    waiting = [each for each in chosen if each.state.word == "waiting"]
    if len(waiting) > 1:
        ids = ", ".join(each.run.id for each in waiting)
        return [*sentences, f"{len(waiting)} runs wait: {ids}"]
    return [*sentences, *map(_became, waiting)]


def _became(each: MeasuredRun) -> str:
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
    "parted": "is to be tried alone",
}


def baseline(values: Mapping[str, Any], *, given: bool) -> str:
    """What differences are taken to."""
    what = pairs(values) or "the base config"
    why = "" if given else ", the first variant of the study, which names no BASELINE"
    return f"Differences are to runs of equal seed with {what}{why}."


def on_runs(sweep: Plan, chosen: Sequence[MeasuredRun], metric: str) -> list[str]:
    """What differs that should not, and scores that are no numbers."""
    odd = [
        each.run.id
        for each in chosen
        if each.finished and not math.isfinite(each.scores[metric])
    ]
    notes = remarks.differences(sweep, chosen)
    if odd:
        notes.append(
            f"{metric} is not finite or not recorded in {', '.join(odd)}: "
            "a mean with such a run is none."
        )
    return notes


def on_seeds(rows: Sequence[Row], by: Sequence[str]) -> list[str]:
    """Rows that cannot be compared as they stand: other seeds, or no pair."""
    notes = []
    for row in rows:
        single = 0 if row.difference is None else row.finished - row.difference.count
        if single:
            runs = (
                "1 finished run has" if single == 1 else f"{single} finished runs have"
            )
            notes.append(f"{row.name}: {runs} no finished baseline run.")
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(identity(row.values, by), []).append(row)
    for group in groups.values():
        shared = common_seeds(group)
        others = [row for row in group if set(row.seeds.values()) - shared]
        if others:
            notes.append(_unequal(group, sorted(shared)))
    return notes


def _unequal(group: Sequence[Row], shared: list[Any]) -> str:
    begun = [row for row in group if row.seeds]
    every = {seed for row in begun for seed in row.seeds.values()}
    lacking = [(row, every - set(row.seeds.values())) for row in begun]
    listed = [
        f"{row.name} lacks {seeds(sorted(some))}" for row, some in lacking if some
    ]
    more = f" and {len(listed) - _NAMED} more" if len(listed) > _NAMED else ""
    rank = (
        f"rank by their means over {seeds(shared)}"
        if shared
        else "have none in common and are not ranked"
    )
    named = "; ".join(listed[:_NAMED])
    return f"Rows have not all the same seeds; they {rank}: {named}{more}."


def seeds(values: Sequence[Any]) -> str:
    """seed 3; seeds 0, 1, 4."""
    word = "seed" if len(values) == 1 else "seeds"
    return f"{word} {', '.join(map(str, values))}"
