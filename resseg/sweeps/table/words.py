"""What is said above and below a table, line by line."""

import math
from collections.abc import Sequence

from resseg.console import clean
from resseg.sweeps.keys import pairs
from resseg.sweeps.scores import GRADIENTS, METRICS
from resseg.sweeps.table.cells import NOTHING, interval, number, signed, wall
from resseg.sweeps.table.remarks import seeds
from resseg.sweeps.table.table import Table
from resseg.sweeps.table.verdicts import ClaimPart, Mean, Verdict


def title(table: Table) -> str:
    """What the numbers are."""
    metric = METRICS[table.metric]
    sense = f", {'lower' if metric.lower else 'higher'} is better"
    if table.metric in GRADIENTS:  # neither end of them is good in itself
        sense = ""
    return clean(
        f"{table.sweep.study}: {table.metric} = {metric.meaning}{sense}; mean ± 95 % "
        "interval over n seeds; minus the baseline on equal seeds, mean and 95 % "
        "interval; both Student's t"
    )


def below(table: Table) -> list[str]:
    """Runs, costs, what is not finished, notes and claims."""
    lines = [totals(table)]
    lines += [f"Not finished: {sentence}" for sentence in table.unfinished]
    lines += table.notes
    for verdict in table.claims:
        lines += claim(verdict)
    return [f"{indent(line)}{clean(line)}" for line in lines]


def indent(line: str) -> str:
    """The spaces that a line of `below` begins with: it belongs to the one above."""
    return line[: len(line) - len(line.lstrip(" "))]


def totals(table: Table) -> str:
    """How many runs are finished, and what all of them cost."""
    done, cost = sum(row.finished for row in table.rows), table.cost
    text = f"{done} of {len(table.runs)} runs finished"
    if not math.isnan(cost.compile_seconds):
        text += (
            f"; {cost.programs:.0f} programs compiled in {cost.compile_seconds:.1f} s, "
            f"{cost.train_steps:.0f} of them train steps"
        )
    known = not math.isnan(cost.wall_seconds)
    return f"{text}; {wall(cost)} in all." if known else f"{text}."


def claim(verdict: Verdict) -> list[str]:
    """One line, or one more for each part of a claim that must hold for each value."""
    head = f"Claim {verdict.verdict}: {verdict.name} ({verdict.rule})"
    if not verdict.claim["each"]:
        return [f"{head}: {part_numbers(verdict, part)}" for part in verdict.parts]
    parts = [
        f"  {part.verdict} for {pairs(part.group)}: {part_numbers(verdict, part)}"
        for part in verdict.parts
    ]
    return [head, *parts]


def part_numbers(verdict: Verdict, part: ClaimPart) -> str:
    """What a part of a claim compares, over which seeds, and which are missing."""
    sides = [_side(mean) for mean in part.means]
    kind = verdict.claim["kind"]
    if kind == "ordering":
        found = [interval(estimate, signed) for estimate in part.estimates]
        what = "difference" if len(found) == 1 else "differences"
        text = _chain(sides, [mean.value for mean in part.means])
        text += f": {what} {', '.join(found)}"
    elif kind == "ratio":
        text = f"{sides[0]} / {sides[1]} = {interval(part.estimates[0])}"
    else:
        text = f"{pairs(part.means[0].selector) or 'all'} {interval(part.estimates[0])}"
    over = f" over {seeds(part.seeds)}" if part.seeds else ", no seed in common"
    missing = f"; missing: {seeds(part.missing)}" if part.missing else ""
    return f"{text}{over}{missing}"


def _chain(sides: Sequence[str], values: Sequence[float]) -> str:
    text = sides[0]
    for side, before, after in zip(sides[1:], values, values[1:], strict=False):
        sign = ">" if before > after else "<" if before < after else "="
        text += f" {'?' if math.isnan(before - after) else sign} {side}"
    return text


def _side(mean: Mean) -> str:
    value = number(mean.value) if mean.seeds else NOTHING
    return f"{pairs(mean.selector) or 'all'} {value}"
