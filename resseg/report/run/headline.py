"""The top of the page of a run: what stands out, and the numbers."""

from collections.abc import Sequence

from resseg.report.page import formatting
from resseg.report.page.document import Fact, fact_list
from resseg.report.page.markup import EMPTY, Html, escape, join, tag
from resseg.report.run.facts import Facts, RunState
from resseg.report.run.findings import RunFinding, checked
from resseg.report.run.flow import Flow, fork_hash

_BARS = 12  # classes of which the headline shows bars
_LINKS = 6  # forks that a finding links to at most


def header(facts: Facts, findings: Sequence[RunFinding], flow: Flow | None) -> Html:
    """Name, state, findings, numbers and bars: all that a glance must give."""
    return join(
        [
            tag("h1", facts.name),
            tag("p", f"{facts.model}. {facts.data}.", cls="soft"),
            _state(facts),
            _findings(findings, flow),
            _headline(facts),
            _class_bars(facts),
        ]
    )


def _state(facts: Facts) -> Html:
    of = f" of {facts.steps:,}" if facts.steps is not None else ""
    if facts.state == RunState.WRITTEN:
        words = (
            f"This run is still being written: step {facts.step:,}{of}. The page shows "
            "what its folder held when the page was made."
        )
    elif facts.state == RunState.UNFINISHED:
        words = (
            f"This run is not finished: it stopped at step {facts.step:,}{of}, and "
            "nothing is training in its folder."
        )
    else:
        return EMPTY
    return tag("p", words, cls="note warning state", id="state")


def _findings(findings: Sequence[RunFinding], flow: Flow | None) -> Html:
    """The box that names what a reader must see first."""
    if not findings:
        return tag(
            "div",
            tag("h2", "Nothing stands out"),
            tag("p", checked(flow)),
            cls="findings none",
            id="findings",
        )
    items = [_finding(each) for each in findings]
    worst = findings[0].severity
    return tag(
        "div",
        tag("h2", "What stands out"),
        tag("ul", *items),
        cls=f"findings {worst}",
        id="findings",
        role="region",
        aria_label="What stands out",
    )


def _finding(finding: RunFinding) -> Html:
    links = [
        tag("a", f"show {name}", href=fork_hash(name, finding.path, finding.step))
        for name in finding.forks[:_LINKS]
    ]
    # The name in the sentence is bold: it is what the reader looks for.
    name = tag("strong", finding.name) if finding.forks else EMPTY
    parts = [escape(finding.before), name, escape(finding.after)]
    parts += [escape(" → "), join(links, ", ")] if links else []
    return tag("li", *parts, cls=finding.severity)


def _headline(facts: Facts) -> Html:
    clock = "training steps alone"
    if facts.images_per_second:
        clock = f"steps alone, {formatting.number(facts.images_per_second)} images/s"
    of = f" of {facts.steps:,}" if facts.steps is not None else ""
    seed = f"1 seed ({facts.seed}), step {facts.scored_at:,}" if facts.scores else ""
    size = f"one image of {facts.macs_size}" if facts.macs else ""
    return fact_list(
        [
            Fact(
                "mean IoU",
                formatting.score(facts.mean_iou) if facts.scores else "not yet",
                seed,
                main=True,
            ),
            _best(facts),
            Fact("steps", f"{facts.step:,}{of}", facts.state),
            Fact("time", formatting.duration(facts.seconds), clock),
            *_whole_time(facts),
            Fact("parameters", formatting.large(facts.params)),
            Fact("MACs", formatting.large(facts.macs), size),
        ]
    )


def _whole_time(facts: Facts) -> list[Fact]:
    """From the beginning of the run on, and what took most of it."""
    ledger = facts.ledger
    if ledger is None:
        return []
    return [Fact("in all", formatting.duration(ledger.wall), ledger.largest(4))]


def _best(facts: Facts) -> Fact:
    """The best evaluation where it is not the last, else how many there were."""
    if facts.best is None or facts.best[0] == facts.scored_at:
        return Fact("evaluations", str(facts.evaluations))
    step, score = facts.best
    return Fact("best", formatting.score(score), f"step {step:,}")


def _class_bars(facts: Facts) -> Html:
    """The IoU of every class as a bar, where they are few enough for a headline."""
    iou = facts.scores.get("iou", ())
    if not iou or not 0 < len(facts.classes) <= _BARS:
        return EMPTY
    items = []
    for name, value in zip(facts.classes, iou, strict=False):
        width = 100 * value if value == value else 0
        bar = tag("span", cls="bar", style=f"width: {width:.1f}%")
        items.append(
            tag(
                "li",
                tag("span", name, title=name),
                tag("span", bar, cls="bar-ground", aria_hidden="true"),
                tag("span", formatting.score(value)),
            )
        )
    return tag("ul", *items, cls="bars", aria_label="IoU of each class, 0 to 1")
