"""The page of one run."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from resseg.report.page import document
from resseg.report.page.document import Section
from resseg.report.page.markup import Html, join, tag
from resseg.report.run import (
    classes,
    evaluations,
    flow_section,
    probes,
    records,
    training,
)
from resseg.report.run.facts import Facts, gather, rows_of
from resseg.report.run.findings import RunFinding, find
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


class RunReport(NamedTuple):
    """Everything that a page says of a run, read once."""

    run: Run
    facts: Facts
    flow: Flow | None
    findings: list[RunFinding]
    train: pd.DataFrame
    validation: pd.DataFrame
    predictions: Predictions
    probes: dict[str, pd.DataFrame]
    evaluations: list[evaluations.Evaluation]


def read(path: str | Path) -> RunReport:
    """Reads a run folder, finished or still growing.

    Raises:
        UserError: it is no run folder, or a file in it is damaged.
    """
    run = open_run(path)
    facts, flow = gather(run), read_flow(run)
    return RunReport(
        run,
        facts,
        flow,
        find(facts, flow),
        rows_of(run, "train"),
        rows_of(run, "val"),
        read_predictions(run),
        probes.read_probes(run.path),
        evaluations.read_evaluations(run.path),
    )


def render(one: RunReport, live: str = "") -> str:
    """The HTML file; for `live` see `document.render`."""
    curves = training.curves(one.train, one.validation, one.facts)
    sections = _sections(one, curves)
    return document.render(
        f"{one.facts.name} – resseg report",
        header(one.facts, one.findings, one.flow),
        sections,
        _data(one, curves),
        _SCRIPTS,
        live=live,
        footer=tag(
            "p", f"resseg report of {one.facts.name}, from its run folder alone."
        ),
    )


def _sections(one: RunReport, curves: Sequence[Any]) -> list[Section]:
    facts, flow = one.facts, one.flow
    sections = []
    if flow is not None:
        sections.append(Section("flow", "Gradient flow", flow_section.section(flow)))
    else:
        body = document.paragraphs(_no_gradients(one))
        sections.append(Section("flow", "Gradient flow", body))
    if curves:
        sections.append(Section("training", "Training", training.figures(curves)))
    if facts.scores and facts.classes:
        sections.append(Section("classes", "Classes", _classes(one)))
    if one.evaluations:
        body = evaluations.section(one.evaluations)
        sections.append(Section("evaluations", "Evaluations", body))
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


def _no_gradients(one: RunReport) -> str:
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


def _classes(one: RunReport) -> Html:
    facts = one.facts
    table = classes.class_table(facts, colors(len(facts.classes)))
    matrix = one.predictions.confusion
    if matrix is None:
        missing = "The confusion matrix is not recorded in this run folder."
        return join([table, tag("p", missing, cls="soft")])
    split = one.predictions.split
    confusion = classes.confusion(matrix, one.predictions.classes, split)
    return join([table, confusion])


def _data(one: RunReport, curves: Sequence[Any]) -> dict[str, Any]:
    facts = one.facts
    tables: dict[str, Any] = {}
    if not one.train.empty:
        tables["train"] = training.train_table(one.train)
    if not one.validation.empty:
        tables["validation"] = training.validation_table(one.validation, facts.classes)
    predictions = one.predictions
    if predictions.confusion is not None:
        counts = predictions.confusion.tolist()
        tables["confusion"] = {
            "columns": ["truth", *predictions.classes],
            "rows": [
                [name, *row]
                for name, row in zip(predictions.classes, counts, strict=True)
            ],
        }
        tables["images"] = records.image_table(predictions.images)
    moving = rows_of(one.run, records.COEFFICIENTS)
    hows = [{"id": plot.id, **how} for plot, how in curves]
    if not moving.empty:
        tables["coefficients"] = training.train_table(moving)
        hows.append(records.coefficient_curve(moving))
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
        "curves": hows,
        "samples": predictions.samples,
    }
