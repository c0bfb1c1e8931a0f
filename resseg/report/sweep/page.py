"""The page of a sweep, as one HTML file."""

from typing import Any

from resseg.report.page import document
from resseg.report.page.document import Section, figure
from resseg.report.page.markup import Html, join, tag
from resseg.report.sweep import differences, figures, multiples, tables
from resseg.report.sweep.figures import Chart
from resseg.report.sweep.headline import header
from resseg.report.sweep.read import SweepReport
from resseg.sweeps.table.words import totals

_SCRIPTS = ("sweep.js", "sweep_curves.js", "start.js")
_STYLES = ("sweep.css",)
_ONCE = " Runs were scored once, at their end: the scores are in the table."


def render(report: SweepReport, live: str = "") -> str:
    """The HTML file; for `live` see `document.render`."""
    forest = differences.forest(report)
    curves, doses = figures.curves(report), figures.doses(report)
    cost = figures.cost(report)
    charts = [*curves, *doses, *([cost] if cost else [])]
    sections = [
        Section("variants", "Variants", tables.variant_section(report)),
        Section("differences", "Differences to the baseline", _forest(forest)),
        *_over_steps(report, curves),
        *_over_keys(report, doses),
        Section("depth", "Gradients", _depth(report)),
        *([Section("costs", "Cost and quality", _cost(cost))] if cost else []),
        Section("unfinished", "Runs that are missing", tables.unfinished(report)),
        Section("runs", "Runs", tables.run_section(report)),
        Section("config", "Swept keys", tables.config_section(report)),
    ]
    data = {
        "title": report.plan.study,
        "tables": tables.data(report) | {each.plot.csv: each.table for each in charts},
        "sweep": _for_scripts(report),
        "curves": [each.how for each in curves],
        "doses": [each.how for each in doses],
        "cost": cost.how if cost else None,
        "forest": forest[1] if forest else None,
    }
    if forest:
        data["tables"]["differences"] = forest[2]
    for what in multiples.MULTIPLES:
        data["tables"][what.name] = multiples.data(report, what)
    footer = f"resseg report of the study {report.plan.study}. {totals(report.table)}"
    return document.render(
        f"{report.plan.study} – resseg report",
        header(report),
        sections,
        data,
        _SCRIPTS,
        styles=_STYLES,
        live=live,
        footer=tag("p", footer),
    )


def _for_scripts(report: SweepReport) -> dict[str, Any]:
    return {
        "metric": report.table.metric,
        "baselines": report.baselines,
        "variants": [
            {"name": variant.name, "short": variant.short}
            for variant in report.variants
        ],
        "lines": {
            each.plot.csv: [line["name"] for line in each.how["lines"]]
            for each in figures.doses(report)
        },
    }


def _forest(forest: Any) -> Html:
    if forest is None:
        words = (
            "No variant has a finished run whose baseline run of the same seed is "
            "finished too, so there is no difference to show."
        )
        return tag("p", words)
    return figure(forest[0])


def _over_steps(report: SweepReport, curves: list[Chart]) -> list[Section]:
    if not curves:
        return []
    count = len(report.variants)
    intro = (
        "In colour: the variants chosen by their number in the table above"
        + (", seven at most; all others in grey. " if count > 7 else ". ")
        + (
            "At first: the baseline, and some from the best to the worst. "
            * (count > 7)
        )
        + "Runs that are not finished show what they have logged."
        + (_ONCE if all(each.plot.id != "curve-score" for each in curves) else "")
    )
    chosen = tag("p", id="chosen", cls="controls", role="status")
    plots = tag("div", *[figure(each.plot) for each in curves], cls="pair")
    return [
        Section("curves", "Learning curves", join([tag("p", intro), chosen, plots]))
    ]


def _over_keys(report: SweepReport, doses: list[Chart]) -> list[Section]:
    if not doses:
        return []
    plots = tag("div", *[figure(each.plot) for each in doses], cls="pair doses")
    return [Section("doses", "Dose and response", plots)]


def _depth(report: SweepReport) -> Html:
    return join([multiples.section(report, what) for what in multiples.MULTIPLES])


def _cost(cost: Chart) -> Html:
    options = [tag("option", text, value=name) for name, text in cost.how["choices"]]
    controls = tag(
        "p",
        tag("label", "Cost ", for_="cost-x"),
        tag("select", *options, id="cost-x"),
        cls="controls",
    )
    return figure(cost.plot._replace(controls=controls))
