"""What is said above and below a table, line by line."""

import math
from collections.abc import Sequence

from resseg.console import clean
from resseg.sweeps.keys import pairs
from resseg.sweeps.scores import GRADIENTS, METRICS
from resseg.sweeps.table.cells import NOTHING, number, wall
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
        "interval over n seeds (Student's t); minus the baseline on equal seeds, mean "
        "and 95 % interval (bootstrap, BCa)"
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
    """What a part of a claim compares, with the number of runs behind each mean."""
    sides = [_side(mean) for mean in part.means]
    kind = verdict.claim["kind"]
    if kind == "ordering":
        return _chain(sides, [mean.value for mean in part.means])
    if kind == "ratio" and part.value is not None:
        known = all(mean.finished for mean in part.means)
        value = number(part.value) if known else NOTHING
        return f"{sides[0]} / {sides[1]} = {value}"
    return sides[0]


def _chain(sides: Sequence[str], values: Sequence[float]) -> str:
    text = sides[0]
    for side, before, after in zip(sides[1:], values, values[1:], strict=False):
        sign = ">" if before > after else "<" if before < after else "="
        text += f" {'?' if math.isnan(before - after) else sign} {side}"
    return text


def _side(mean: Mean) -> str:
    runs = "run" if mean.planned == 1 else "runs"
    whole = mean.finished == mean.planned
    count = f"{mean.planned}" if whole else f"{mean.finished} of {mean.planned}"
    value = number(mean.value) if mean.finished else NOTHING
    return f"{pairs(mean.selector) or 'all'} {value} ({count} {runs})"
