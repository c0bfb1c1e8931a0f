"""A sweep as Markdown with figures as PNG, for the README of a study."""

from pathlib import Path

from resseg.console import clean
from resseg.errors import UserError
from resseg.report.page.files import write
from resseg.report.run.markdown import code, escape, table
from resseg.report.sweep import differences, figures, multiples, pictures
from resseg.report.sweep.headline import MARKS, missing, states
from resseg.report.sweep.read import SweepReport
from resseg.report.sweep.tables import swept_keys
from resseg.sweeps.table.cells import difference
from resseg.sweeps.table.formats import as_markdown
from resseg.sweeps.table.words import claim


def save(report: SweepReport, out: Path) -> None:
    """Writes the Markdown file, and its figures into a folder of its name beside it.

    Raises:
        UserError: the folder of figures cannot be made, or the file not written.
    """
    folder = out.with_suffix("")
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise UserError(f"{folder} cannot be made: {error.strerror}") from error
    parts = [
        *_question(report),
        *_claims(report),
        "## Variants",
        as_markdown(report.table),
    ]
    parts += [
        *_differences(report, folder),
        *_figures(report, folder),
        *_config(report),
    ]
    write(out, "\n\n".join(part.rstrip("\n") for part in parts) + "\n")


def _question(report: SweepReport) -> list[str]:
    first, *others = [p for p in report.plan.question.split("\n\n") if p.strip()]
    parts = [f"# {escape(first)}", *[escape(text) for text in others]]
    if missing(report):
        counts = f"{states(report)['finished']} of {len(report.table.runs)}"
        parts.append(
            f"**Not the whole study: {counts} runs are finished ({missing(report)}).**"
        )
    return parts


def _claims(report: SweepReport) -> list[str]:
    if not report.table.claims:
        return []
    lines = []
    for verdict in report.table.claims:
        head, *rest = claim(verdict)
        lines.append(f"- {MARKS[verdict.verdict]} {escape(clean(head))}")
        lines += [f"  - {escape(clean(line))}" for line in rest]
    return ["## Claims", "\n".join(lines)]


def _differences(report: SweepReport, folder: Path) -> list[str]:
    rows = differences.compared(report)
    if not rows:
        return []
    pictures.save_forest(report, folder / "differences.png")
    listed = [
        [escape(variant.name), difference(variant.row), str(len(variant.row.pairs))]
        for _, variant in rows
    ]
    head = ["variant", "minus baseline, Student's 95 % interval", "pairs"]
    return [
        "## Differences to the baseline",
        _picture(folder / "differences.png", differences.caption(report)),
        table(head, listed),
    ]


def _figures(report: SweepReport, folder: Path) -> list[str]:
    parts = []
    curves = figures.curves(report)
    for chart in curves:
        path = folder / f"{chart.plot.id}.png"
        named = pictures.save_curves(report, chart, path)
        parts += [_picture(path, f"{chart.plot.caption} {named}")]
    parts = ["## Learning curves", *parts] if parts else []
    doses = figures.doses(report)
    if doses:
        parts.append("## Dose and response")
    for chart in doses:
        path = folder / f"{chart.plot.id}.png"
        pictures.save_dose(report, chart, path)
        parts.append(_picture(path, f"{chart.plot.title}. {chart.plot.caption}"))
    kept = [what for what in multiples.MULTIPLES if multiples.with_band(report, what)]
    if kept:
        parts.append("## Gradients")
    for what in kept:
        path = folder / f"{what.name}.png"
        pictures.save_multiples(report, what, path)
        caption = f"{what.title}. {multiples.caption(report, what)}"
        parts.append(_picture(path, caption))
    cost = figures.cost(report)
    if cost is not None:
        pictures.save_cost(report, cost, folder / "cost.png")
        parts += ["## Cost and quality", _picture(folder / "cost.png", _cost(cost))]
    return parts


def _cost(cost: figures.Chart) -> str:
    return f"Against {cost.how['choices'][0][1]}. {cost.plot.caption}"


def _picture(path: Path, words: str) -> str:
    first = words.partition(". ")[0]
    return f"![{escape(first)}]({path.parent.name}/{path.name})\n\n*{escape(words)}*"


def _config(report: SweepReport) -> list[str]:
    rows = [
        [
            code(key),
            ", ".join(f"{code(value)} ({count})" for value, count in counts),
            code(own) if own else "as the run",
        ]
        for key, counts, own in swept_keys(report)
    ]
    return [
        "## Swept keys, with the number of runs",
        table(["key", "values", "baseline"], rows, text=3),
    ]
