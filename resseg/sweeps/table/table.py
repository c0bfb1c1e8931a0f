"""The answer of a sweep: one row per variant, from the folders of its runs.

    table = load_table(read_plan("sweeps/shortcuts"))
    for row in table.rows:
        print(row.name, row.score.mean, row.difference)

Nothing here prints; `resseg.sweeps.table.formats` makes text of a table.
"""

import fnmatch
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd

from resseg.errors import UserError
from resseg.sweeps.keys import SEED, find_key, pairs
from resseg.sweeps.plan import Plan
from resseg.sweeps.scores import METRICS, check_metric
from resseg.sweeps.table import remarks
from resseg.sweeps.table.measured import Cost, MeasuredRun, add_costs, read_measured
from resseg.sweeps.table.rows import Row, identity, make_row, ordered, variants
from resseg.sweeps.table.verdicts import HOLDS, Verdict, judge


class Table(NamedTuple):
    """A sweep as it is now.

    Attributes:
        sweep: its plan.
        metric: name of what is compared.
        keys: swept keys in which variants differ, those of `by` first; without seed.
        by: the keys that rows are grouped by.
        baseline: config values that a run's baseline run has.
        rows: best first within the groups, by means over the seeds that all have.
        runs: one row per run, whatever its state: id, name, state, step, steps,
            message, baseline (id of its baseline run, None without one), the swept
            keys, the metrics (NaN unless finished) and the fields of `Cost`.
        unfinished: sentences that name every run that is not finished, and say why.
        claims: of the study, all runs taken together.
        notes: what a reader must know: the baseline, what else differs between runs,
            what is missing or not finite, which rows have other seeds.
        cost: of all shown runs together.
    """

    sweep: Plan
    metric: str
    keys: tuple[str, ...]
    by: tuple[str, ...]
    baseline: dict[str, Any]
    rows: tuple[Row, ...]
    runs: pd.DataFrame
    unfinished: tuple[str, ...]
    claims: tuple[Verdict, ...]
    notes: tuple[str, ...]
    cost: Cost

    @property
    def passed(self) -> bool:
        """Whether every claim holds, on every seed that is planned for it."""
        return all(
            verdict.verdict == HOLDS and not verdict.missing for verdict in self.claims
        )


def load_table(
    sweep: Plan,
    metric: str = "mean_iou",
    *,
    also: Iterable[str] = (),
    baseline: Mapping[str, Any] | None = None,
    by: Sequence[str] = (),
    only: str | None = None,
) -> Table:
    """Reads all run folders of a sweep.

    The baseline of a run has the baseline's values and agrees with the run in every
    other swept key, the seed included; without any baseline it is the first variant of
    the study. Runs are paired with it wherever both are finished. Scores count as they
    are: one that is not a number makes the mean none.

    Args:
        sweep: as `read_plan` gives it.
        metric: a name of `resseg.sweeps.scores.METRICS`.
        also: further metrics for `Table.runs`; those of the claims are there anyway.
        baseline: plain config values by swept key, instead of the study's.
        by: swept keys, or endings of them: rows are sorted by their values first.
        only: a pattern; runs whose id or overrides match are shown. Their baselines,
            and the runs that claims are about, need not match.

    Raises:
        UserError: no such metric, or key; no run has the baseline's values, or matches
            `only`; a file of a run is damaged.
    """
    check_metric("--metric", metric)
    varied = [key for key in sweep.swept if key != SEED]
    first_keys = tuple(find_key("--by", name, varied) for name in by)
    claimed = [claim["metric"] for claim in sweep.claims]
    metrics = dict.fromkeys([metric, *also, *claimed])
    measured = read_measured(sweep, metrics)
    values = _baseline(sweep, measured, baseline)
    partners = _partners(sweep, measured, values)
    chosen = [each for each in measured if _matches(only, each)]
    if not chosen:
        raise UserError(f"--only {only!r}: matches none of {len(measured)} runs")
    keys = _table_keys(sweep, measured, first_keys)
    groups = variants(sweep, chosen)
    rows = [make_row(group, keys, metric, partners) for group in groups]
    return Table(
        sweep=sweep,
        metric=metric,
        keys=keys,
        by=first_keys,
        baseline=values,
        rows=tuple(ordered(rows, first_keys, METRICS[metric].lower)),
        runs=_frame(sweep, chosen, metrics, partners),
        unfinished=tuple(remarks.unfinished(chosen)),
        claims=tuple(judge(claim, measured) for claim in sweep.claims),
        notes=(
            remarks.baseline(values, given=bool(baseline or sweep.baseline)),
            *remarks.on_runs(sweep, chosen, metric),
            *remarks.on_seeds(rows, first_keys),
        ),
        cost=add_costs([each.cost for each in chosen]),
    )


def _baseline(
    sweep: Plan, measured: Sequence[MeasuredRun], given: Mapping[str, Any] | None
) -> dict[str, Any]:
    values = dict(given or sweep.baseline)
    if not values:
        first = measured[0].config
        return {key: first[key] for key in sweep.swept if key != SEED}
    if SEED in values:
        raise UserError("the baseline names a seed, but runs of equal seeds are paired")
    if not any(
        all(each.config[key] == value for key, value in values.items())
        for each in measured
    ):
        raise UserError(f"--baseline: no run of the sweep has {pairs(values)}")
    return values


def _partners(
    sweep: Plan, measured: Sequence[MeasuredRun], baseline: Mapping[str, Any]
) -> dict[str, MeasuredRun | None]:
    """The baseline run of every run, by id; that of a baseline run is itself."""
    known = {identity(each.config, sweep.swept): each for each in measured}
    return {
        each.run.id: known.get(identity({**each.config, **baseline}, sweep.swept))
        for each in measured
    }


def _matches(pattern: str | None, each: MeasuredRun) -> bool:
    names = (each.run.id, each.run.name)
    return pattern is None or any(fnmatch.fnmatch(name, pattern) for name in names)


def _table_keys(
    sweep: Plan, measured: Sequence[MeasuredRun], first: tuple[str, ...]
) -> tuple[str, ...]:
    varied = [
        key
        for key in sweep.swept
        if key != SEED and len({identity(e.config, [key]) for e in measured}) > 1
    ]
    return tuple(dict.fromkeys([*first, *varied]))


def _frame(
    sweep: Plan,
    chosen: Sequence[MeasuredRun],
    metrics: Iterable[str],
    partners: Mapping[str, MeasuredRun | None],
) -> pd.DataFrame:
    rows = []
    for each in chosen:
        partner = partners[each.run.id]
        rows.append(
            {
                "id": each.run.id,
                "name": each.run.name,
                "state": each.state.word,
                "step": each.state.step,
                "steps": each.run.steps,
                "message": each.state.message,
                "baseline": None if partner is None else partner.run.id,
                **{key: each.config[key] for key in sweep.swept},
                **{name: each.scores.get(name, math.nan) for name in metrics},
                **each.cost._asdict(),
            }
        )
    return pd.DataFrame(rows)
