"""The page of one run."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from resseg.report.page import (
    classes,
    document,
    flow_section,
    numbers,
    probes,
    records,
    training,
)
from resseg.report.page.document import Section
from resseg.report.page.facts import Facts, gather, rows_of
from resseg.report.page.findings import Finding, checked, find
from resseg.report.page.flow import Flow, for_scripts, fork_hash, read_flow
from resseg.report.page.markup import EMPTY, Html, escape, join, tag
from resseg.report.page.pictures import sample_section
from resseg.report.page.samples import Predictions, colors, read_predictions
from resseg.runs.reader import Run, open_run

_BARS = 12  # classes of which the headline shows bars
_LINKS = 6  # forks that a finding links to at most
_SCRIPTS = ("curves.js", "flow.js", "samples.js", "start.js")


class Read(NamedTuple):
    """Everything that a page says of a run, read once."""

    run: Run
    facts: Facts
    flow: Flow | None
    findings: list[Finding]
    train: pd.DataFrame
    validation: pd.DataFrame
    predictions: Predictions
    probes: dict[str, pd.DataFrame]


def read(path: str | Path) -> Read:
    """Reads a run folder, finished or still growing.

    Raises:
        UserError: it is no run folder, or a file in it is damaged.
    """
    run = open_run(path)
    facts, flow = gather(run), read_flow(run)
    return Read(
        run,
        facts,
        flow,
        find(facts, flow),
        rows_of(run, "train"),
        rows_of(run, "val"),
        read_predictions(run),
        probes.read_probes(run.path),
    )


def render(one: Read) -> str:
    """The HTML file."""
    drawn = training.curves(one.train, one.validation, one.facts)
    sections = _sections(one, drawn)
    return document.render(
        f"{one.facts.name} – resseg report",
        _header(one),
        sections,
        _data(one, drawn),
        _SCRIPTS,
        footer=tag(
            "p", f"resseg report of {one.facts.name}, from its run folder alone."
        ),
    )


def _sections(one: Read, drawn: Sequence[Any]) -> list[Section]:
    facts, flow = one.facts, one.flow
    sections = []
    if flow is not None:
        sections.append(Section("flow", "Gradient flow", flow_section.section(flow)))
    else:
        body = document.paragraphs(_no_gradients(one))
        sections.append(Section("flow", "Gradient flow", body))
    if drawn:
        sections.append(Section("training", "Training", training.figures(drawn)))
    if facts.scores and facts.classes:
        sections.append(Section("classes", "Classes", _classes(one)))
    pictures = sample_section(one.predictions, facts.classes)
    if pictures:
        sections.append(Section("samples", "Predictions", pictures))
    moving = records.coefficients(rows_of(one.run, records.COEFFICIENTS), facts)
    if moving:
        sections.append(Section("coefficients", "Coefficients and gates", moving))
    if one.probes:
        body = probes.section(one.run.path, one.probes)
        sections.append(Section("probes", "Probes", body))
    warned = records.warnings(facts, flow, one.train)
    sections.append(Section("notes", "Notes and denominators", warned))
    sections.append(Section("config", "Config", records.config(one.run, facts)))
    sections.append(Section("environment", "Environment", records.environment(facts)))
    return sections


def _no_gradients(one: Read) -> str:
    config: Any = one.run.config
    try:
        every = config.log.gradients.every
    except AttributeError:
        every = 0
    if every:
        return (
            "No gradient rows yet: they are written with each checkpoint and when "
            "training ends."
        )
    return "This run logged no gradients (log.gradients.every = 0)."


def _classes(one: Read) -> Html:
    facts = one.facts
    table = classes.class_table(facts, colors(len(facts.classes)))
    told = one.predictions
    if told.confusion is None:
        missing = "The confusion matrix is not recorded in this run folder."
        return join([table, tag("p", missing, cls="soft")])
    return join([table, classes.confusion(told.confusion, told.classes, told.split)])


def _header(one: Read) -> Html:
    facts = one.facts
    return join(
        [
            tag("h1", facts.name),
            tag("p", f"{facts.model}. {facts.data}.", cls="soft"),
            _state(facts),
            _findings(one),
            _headline(facts),
            class_bars(facts),
        ]
    )


def _state(facts: Facts) -> Html:
    of = f" of {facts.steps:,}" if facts.steps is not None else ""
    if facts.state == "being written":
        words = (
            f"This run is still being written: step {facts.step:,}{of}. The page shows "
            "what its folder held when the page was made."
        )
    elif facts.state == "unfinished":
        words = (
            f"This run is not finished: it stopped at step {facts.step:,}{of}, and "
            "nothing is training in its folder."
        )
    else:
        return EMPTY
    return tag("p", words, cls="note warning state", id="state")


def _findings(one: Read) -> Html:
    """The box that names what a reader must see first."""
    found = one.findings
    if not found:
        return tag(
            "div",
            tag("h2", "Nothing stands out"),
            tag("p", checked(one.flow)),
            cls="findings none",
            id="findings",
        )
    items = [_finding(each) for each in found]
    worst = found[0].severity
    return tag(
        "div",
        tag("h2", "What stands out"),
        tag("ul", *items),
        cls=f"findings {worst}",
        id="findings",
        role="region",
        aria_label="What stands out",
    )


def _finding(finding: Finding) -> Html:
    links = [
        tag("a", f"show {name}", href=fork_hash(name, finding.path))
        for name in finding.forks[:_LINKS]
    ]
    parts = [escape(finding.text)]
    # The name in the sentence is bold: it is what the reader looks for.
    if finding.forks:
        name = escape(finding.forks[0])
        parts = [Html(parts[0].replace(name, f"<strong>{name}</strong>", 1))]
    parts += [Html(" → "), join(links, ", ")] if links else []
    return tag("li", *parts, cls=finding.severity)


def _headline(facts: Facts) -> Html:
    best = None
    if facts.best is not None and facts.best[0] != facts.scored_at:
        best = f"best {numbers.score(facts.best[1])} at step {facts.best[0]:,}"
    clock = "training steps alone"
    if facts.images_per_second:
        clock = f"steps alone, {numbers.number(facts.images_per_second)} images/s"
    of = f" of {facts.steps:,}" if facts.steps is not None else ""
    values: list[tuple[str, str, str | None, str | None]] = [
        (
            "mean IoU",
            numbers.score(facts.mean_iou) if facts.scores else "not yet",
            f"1 seed ({facts.seed}), step {facts.scored_at:,}"
            if facts.scores
            else None,
            "main",
        ),
        ("best", best.split(" ")[1], best.partition(" at ")[2], None)
        if best
        else ("evaluations", str(facts.evaluations), None, None),
        ("steps", f"{facts.step:,}{of}", facts.state, None),
        ("time", numbers.duration(facts.seconds), clock, None),
        ("parameters", numbers.large(facts.params), None, None),
        (
            "MACs",
            numbers.large(facts.macs),
            f"one image of {facts.macs_size}" if facts.macs else None,
            None,
        ),
    ]
    items = [
        tag(
            "div",
            tag("dt", name),
            tag("dd", value, tag("small", note) if note else None),
            cls=cls,
        )
        for name, value, note, cls in values
    ]
    return tag("dl", *items, cls="facts")


def class_bars(facts: Facts) -> Html:
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
                tag("span", numbers.score(value)),
            )
        )
    return tag("ul", *items, cls="bars", aria_label="IoU of each class, 0 to 1")


def _data(one: Read, drawn: Sequence[Any]) -> dict[str, Any]:
    facts = one.facts
    tables: dict[str, Any] = {}
    if not one.train.empty:
        tables["train"] = training.train_table(one.train)
    if not one.validation.empty:
        tables["validation"] = training.validation_table(one.validation, facts.classes)
    told = one.predictions
    if told.confusion is not None:
        tables["confusion"] = {
            "columns": ["truth", *told.classes],
            "rows": [
                [name, *row]
                for name, row in zip(told.classes, told.confusion.tolist(), strict=True)
            ],
        }
        tables["images"] = records.image_table(told.images)
    moving = rows_of(one.run, records.COEFFICIENTS)
    curves = [{"id": plot.id, **how} for plot, how in drawn]
    if not moving.empty:
        tables["coefficients"] = training.train_table(moving)
        curves.append(records.coefficient_curve(moving))
    for name, frame in one.probes.items():
        tables[probes.table_name(name)] = probes.for_scripts(frame)
    palette = colors(len(facts.classes))
    return {
        "title": facts.name,
        "classes": [
            {"name": name, "color": color}
            for name, color in zip(facts.classes, palette, strict=True)
        ],
        "findings": [finding._asdict() for finding in one.findings],
        "gradients": None if one.flow is None else for_scripts(one.flow),
        "tables": tables,
        "curves": curves,
        "samples": told.samples,
    }
