"""The top of the page of a sweep: the question, what is claimed, how far it is."""

import math
import re
from collections import Counter

from resseg.report.page import formatting
from resseg.report.page.document import Fact, fact_list
from resseg.report.page.markup import EMPTY, Html, join, tag
from resseg.report.sweep.read import SweepReport
from resseg.sweeps.keys import pairs
from resseg.sweeps.scores import METRICS
from resseg.sweeps.table.cells import wall
from resseg.sweeps.table.rows import common_seeds
from resseg.sweeps.table.statistics import mean_interval
from resseg.sweeps.table.verdicts import FAILS, HOLDS, UNDECIDED, Verdict
from resseg.sweeps.table.words import part_numbers

MARKS = {HOLDS: "✓", FAILS: "✕", UNDECIDED: "?"}
_STATES = ("running", "failed", "broken off", "preempted", "waiting")


def header(report: SweepReport) -> Html:
    """Question, prediction, counts, and a box with the claims."""
    first, *others = _paragraphs(report.plan.question) or [report.plan.study]
    return join(
        [
            tag("p", f"Study {report.plan.study}", cls="soft kicker"),
            tag("h1", first),
            *[_paragraph(text) for text in others],
            _state(report),
            _facts(report),
            _claims(report.table.claims),
        ]
    )


def _paragraphs(question: str) -> list[str]:
    return [" ".join(p.split()) for p in re.split(r"\n\s*\n", question) if p.strip()]


def _paragraph(text: str) -> Html:
    if not text.lower().startswith("prediction"):
        return tag("p", text)
    word, colon, rest = text.partition(":")
    if not colon or len(word) > 80:
        return tag("p", text, cls="note prediction")
    return tag("p", tag("strong", f"{word}:"), rest, cls="note prediction")


def states(report: SweepReport) -> Counter[str]:
    """How many runs are in which state."""
    return Counter(report.table.runs["state"])


def missing(report: SweepReport) -> str:
    """What the runs that are not finished do, with counts; "" if all are finished."""
    counts = states(report)
    return ", ".join(f"{counts[word]} {word}" for word in _STATES if counts[word])


def _state(report: SweepReport) -> Html:
    others = missing(report)
    if not others:
        return EMPTY
    done, total = states(report)["finished"], len(report.table.runs)
    return tag(
        "p",
        tag("strong", f"Not the whole study: {done} of {total} runs are finished"),
        f" ({others}). What follows is from these; ",
        tag("a", "which runs are missing, and why", href="#unfinished"),
        ".",
        cls="note warning state",
        id="state",
    )


def _claims(claims: tuple[Verdict, ...]) -> Html:
    if not claims:
        words = "This study states no claim that could be checked."
        return tag("p", words, cls="soft")
    verdicts = Counter(verdict.verdict for verdict in claims)
    worst = "error" if verdicts[FAILS] else "warning" if verdicts[UNDECIDED] else "none"
    counts = [
        f"{verdicts[word]} {text}"
        for word, text in ((HOLDS, "hold"), (FAILS, "fail"), (UNDECIDED, "undecided"))
        if verdicts[word]
    ]
    return tag(
        "div",
        tag("h2", f"Claims of the study: {', '.join(counts)}"),
        tag("ul", *[_claim(verdict) for verdict in claims], cls="claims"),
        tag(
            "p",
            "A claim is judged over the seeds that all its runs have. It holds where "
            "the whole 95 % interval (Student's, of paired differences) agrees with "
            "it, fails where the whole interval contradicts it, and is undecided else.",
            cls="soft",
        ),
        cls=f"findings {worst}",
        id="claims",
        role="region",
        aria_label="Claims of the study",
    )


def _claim(verdict: Verdict) -> Html:
    word = verdict.verdict
    head = join(
        [
            tag("strong", f"{MARKS[word]} {word}: ", cls=f"verdict {word}"),
            tag("strong", verdict.name),
            tag("span", f" ({verdict.rule})", cls="soft"),
        ]
    )
    if not verdict.claim["each"]:
        inner = tag("p", part_numbers(verdict, verdict.parts[0]))
        return tag("li", head, inner, cls=f"claim {word}")
    parts = [
        tag(
            "li",
            tag("strong", f"{MARKS[part.verdict]} {part.verdict}"),
            f" for {pairs(part.group)}: {part_numbers(verdict, part)}",
        )
        for part in verdict.parts
    ]
    held = sum(part.verdict == HOLDS for part in verdict.parts)
    values = f"for {held} of {formatting.plural(len(parts), 'combination')} of values"
    listed = tag(
        "details", tag("summary", values), tag("ul", *parts), open=word != HOLDS
    )
    return tag("li", head, listed, cls=f"claim {word}")


def _facts(report: SweepReport) -> Html:
    table = report.table
    counts = sorted({row.planned for row in table.rows})
    seeds = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    programs = formatting.plural(round(table.cost.programs), "program")
    known = not math.isnan(table.cost.wall_seconds)
    return fact_list(
        [
            _best(report),
            Fact("runs finished", f"{states(report)['finished']} of {len(table.runs)}"),
            Fact("variants", str(len(table.rows)), f"{seeds} seeds each"),
            Fact(
                "time",
                wall(table.cost) if known else formatting.MISSING,
                f"of all runs; {programs} compiled",
            ),
        ]
    )


def _best(report: SweepReport) -> Fact:
    """The best of the variants on the seeds that all of them have."""
    lower, title = METRICS[report.table.metric].lower, f"best {report.table.metric}"
    begun = [v for v in report.variants if v.row.score.count]
    if not begun:
        return Fact(title, formatting.NOTHING, "no run is finished yet", main=True)
    shared = common_seeds(v.row for v in begun)
    if not shared:
        note = "the variants have no seed in common"
        return Fact(title, formatting.NOTHING, note, main=True)
    means = [(v.row.mean_over(shared) * (1 if lower else -1), v) for v in begun]
    known = [each for each in means if math.isfinite(each[0])] or means
    best = min(known, key=lambda each: each[0])[1]
    score = mean_interval(
        [best.row.scores[run] for run, seed in best.row.seeds.items() if seed in shared]
    )
    runs = "1 seed" if score.count == 1 else f"mean ± 95 % over {score.count} seeds"
    note = f"{best.short}; {runs}"
    if any(set(v.row.seeds.values()) - shared for v in begun):
        note += " that all variants have"
    if score.why:
        return Fact(title, formatting.score(score.mean), note, main=True)
    if len(report.variants) > 1:
        end = "lowest" if lower else "highest"
        note += f", the {end} of {len(report.variants)}: by chance a bit too good"
    value = f"{formatting.score(score.mean)} ± {formatting.number(score.half, 2)}"
    return Fact(title, value, note, main=True)
