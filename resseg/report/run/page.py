"""The page of one run."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from resseg.report.page import document
from resseg.report.page.document import Section
from resseg.report.page.markup import Html, join, tag
from resseg.report.run import classes, flow_section, probes, records, training
from resseg.report.run.facts import Facts, gather, rows_of
from resseg.report.run.findings import Finding, find
from resseg.report.run.flow import Flow, for_scripts, read_flow
from resseg.report.run.headline import header
from resseg.report.run.pictures import sample_section
from resseg.report.run.samples import Predictions, colors, read_predictions
from resseg.runs.reader import Run, open_run

_SCRIPTS = (
    "curves.js",
    "flow_state.js",
    "heat.js",
    "profile.js",
    "fork.js",
    "flow.js",
    "samples.js",
    "start.js",
)


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


def render(one: Read, live: str = "") -> str:
    """The HTML file; for `live` see `document.render`."""
    drawn = training.curves(one.train, one.validation, one.facts)
    sections = _sections(one, drawn)
    return document.render(
        f"{one.facts.name} – resseg report",
        header(one.facts, one.findings, one.flow),
        sections,
        _data(one, drawn),
        _SCRIPTS,
        live=live,
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
        "findings": [finding.for_scripts() for finding in one.findings],
        "gradients": None if one.flow is None else for_scripts(one.flow),
        "tables": tables,
        "curves": curves,
        "samples": told.samples,
    }
