"""The rows of a table: runs that differ in nothing but the seed, taken together."""

import json
import math
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from resseg.sweeps.keys import SEED, pairs, short_names
from resseg.sweeps.plan import Plan
from resseg.sweeps.table.measured import Cost, MeasuredRun, add_costs
from resseg.sweeps.table.statistics import (
    Estimate,
    bootstrap_interval,
    mean_interval,
)


class Row(NamedTuple):
    """One variant: the runs that differ in nothing but the seed.

    Attributes:
        name: its values in one line.
        values: of the table's keys.
        scores: metric of each finished run, by id of the run.
        seeds: of each finished run, by id.
        score: mean of the scores with Student's 95 % interval.
        pairs: what each run scores more than its baseline run, by id; pairs of
            finished runs alone.
        difference: their mean with Student's paired interval; None for the baseline.
        bootstrap: the same with an interval from 20 pairs on; None for the baseline.
        states: how many runs are finished, failed, running …; none is left out.
        cost: of its runs together.
    """

    name: str
    values: dict[str, Any]
    scores: dict[str, float]
    seeds: dict[str, Any]
    score: Estimate
    pairs: dict[str, float]
    difference: Estimate | None
    bootstrap: Estimate | None
    states: Counter[str]
    cost: Cost

    @property
    def planned(self) -> int:
        return self.states.total()

    @property
    def finished(self) -> int:
        return self.states["finished"]

    def mean_over(self, seeds: Collection[Any]) -> float:
        """Mean of the scores of these seeds; NaN where one of them is missing."""
        mine = [self.scores[run] for run, seed in self.seeds.items() if seed in seeds]
        return float(np.mean(mine)) if mine and len(mine) == len(seeds) else math.nan


def identity(config: Mapping[str, Any], keys: Iterable[str]) -> str:
    """Equal for flat configs that agree in the keys."""
    return json.dumps([config[key] for key in keys])


def variants(sweep: Plan, chosen: Sequence[MeasuredRun]) -> list[list[MeasuredRun]]:
    """Runs that differ in the seed alone, together, in the order of the study."""
    keys = [key for key in sweep.swept if key != SEED]
    groups: dict[str, list[MeasuredRun]] = {}
    for each in chosen:
        groups.setdefault(identity(each.config, keys), []).append(each)
    return list(groups.values())


def make_row(
    group: Sequence[MeasuredRun],
    keys: Sequence[str],
    metric: str,
    partners: Mapping[str, MeasuredRun | None],
) -> Row:
    """The row of a variant; `partners` holds the baseline run of every run, by id."""
    values = {key: group[0].config[key] for key in keys}
    scores = {each.run.id: each.scores[metric] for each in group if each.finished}
    compared = {}
    for each in group:
        partner = partners[each.run.id]
        if each.finished and partner is not None and partner.finished:
            compared[each.run.id] = scores[each.run.id] - partner.scores[metric]
    own = partners[group[0].run.id] is group[0]
    return Row(
        name=pairs(values, short_names(keys)) or "base config",
        values=values,
        scores=scores,
        seeds={each.run.id: each.config[SEED] for each in group if each.finished},
        score=mean_interval(list(scores.values())),
        pairs={} if own else compared,
        difference=None if own else mean_interval(list(compared.values())),
        bootstrap=None if own else bootstrap_interval(list(compared.values())),
        states=Counter(each.state.word for each in group),
        cost=add_costs([each.cost for each in group]),
    )


def common_seeds(rows: Iterable[Row]) -> frozenset[Any]:
    """Those that every row has a finished run of, which has any."""
    held = [frozenset(row.seeds.values()) for row in rows if row.seeds]
    return frozenset.intersection(*held) if held else frozenset()


def ordered(rows: Sequence[Row], by: Sequence[str], lower: bool) -> list[Row]:
    """By the values of the keys `by`; then best first, by means over the same seeds.

    Within each combination of those values the rows are compared on the seeds that all
    of them have; where there is none, they stay in the order of the study. Rows whose
    score is no number come last.
    """
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(identity(row.values, by), []).append(row)
    best_first = []
    for group in groups.values():
        shared = common_seeds(group)

        def merit(row: Row, shared: frozenset[Any] = shared) -> float:
            mean = row.mean_over(shared) if shared else 0.0
            return mean * (1 if lower else -1) if math.isfinite(mean) else math.inf

        best_first += sorted(group, key=merit)
    for key in reversed(by):
        ranks = _ranks([row.values[key] for row in rows])
        best_first.sort(key=lambda row, key=key, ranks=ranks: ranks(row.values[key]))
    return best_first


def _ranks(values: list[Any]) -> Any:
    """Numbers by size, anything else in the order of the study."""
    if all(isinstance(value, int | float) for value in values):
        return lambda value: value
    return values.index
