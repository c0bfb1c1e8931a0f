"""A sweep as Markdown with figures as PNG, for the README of a study."""

from pathlib import Path

from resseg.console import clean
from resseg.errors import UserError
from resseg.report.page.files import write
from resseg.report.run.markdown import code, escape, table
from resseg.report.sweep import differences, figures, multiples, pictures
from resseg.report.sweep.headline import MARKS, missing, states
from resseg.report.sweep.read import Told
from resseg.report.sweep.tables import student, swept_keys
from resseg.sweeps.table.cells import score
from resseg.sweeps.table.formats import as_markdown
from resseg.sweeps.table.words import claim


def save(told: Told, out: Path) -> None:
    """Writes the Markdown file, and its figures into a folder of its name beside it.

    Raises:
        UserError: the folder of figures cannot be made, or the file not written.
    """
    folder = out.with_suffix("")
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise UserError(f"{folder} cannot be made: {error.strerror}") from error
    parts = [*_question(told), *_claims(told), "## Variants", as_markdown(told.table)]
    parts += [*_differences(told, folder), *_figures(told, folder), *_config(told)]
    write(out, "\n\n".join(part.rstrip("\n") for part in parts) + "\n")


def _question(told: Told) -> list[str]:
    first, *others = [p for p in told.sweep.question.split("\n\n") if p.strip()]
    parts = [f"# {escape(first)}", *[escape(text) for text in others]]
    if missing(told):
        counts = f"{states(told)['finished']} of {len(told.table.runs)}"
        parts.append(
            f"**Not the whole study: {counts} runs are finished ({missing(told)}).**"
        )
    return parts


def _claims(told: Told) -> list[str]:
    if not told.table.claims:
        return []
    lines = []
    for verdict in told.table.claims:
        head, *rest = claim(verdict)
        lines.append(f"- {MARKS[verdict.verdict]} {escape(clean(head))}")
        lines += [f"  - {escape(clean(line))}" for line in rest]
    return ["## Claims", "\n".join(lines)]


def _differences(told: Told, folder: Path) -> list[str]:
    rows = differences.compared(told)
    if not rows:
        return []
    pictures.save_forest(told, folder / "differences.png")
    listed = [
        [escape(variant.name), score(student(variant.row)), str(len(variant.row.pairs))]
        for _, variant in rows
    ]
    head = ["variant", "minus baseline, Student's 95 % interval", "pairs"]
    return [
        "## Differences to the baseline",
        _picture(folder / "differences.png", differences.caption(told)),
        table(head, listed),
    ]


def _figures(told: Told, folder: Path) -> list[str]:
    parts = []
    curves = figures.curves(told)
    for drawn in curves:
        path = folder / f"{drawn.plot.id}.png"
        named = pictures.save_curves(told, drawn, path)
        parts += [_picture(path, f"{drawn.plot.caption} {named}")]
    parts = ["## Learning curves", *parts] if parts else []
    doses = figures.doses(told)
    if doses:
        parts.append("## Dose and response")
    for drawn in doses:
        path = folder / f"{drawn.plot.id}.png"
        pictures.save_dose(told, drawn, path)
        parts.append(_picture(path, f"{drawn.plot.title}. {drawn.plot.caption}"))
    shown = [what for what in multiples.MULTIPLES if multiples.drawn(told, what)]
    if shown:
        parts.append("## Gradients")
    for what in shown:
        path = folder / f"{what.name}.png"
        pictures.save_multiples(told, what, path)
        caption = f"{what.title}. {multiples.caption(told, what)}"
        parts.append(_picture(path, caption))
    cost = figures.cost(told)
    if cost is not None:
        pictures.save_cost(told, cost, folder / "cost.png")
        parts += ["## Cost and quality", _picture(folder / "cost.png", _cost(cost))]
    return parts


def _cost(cost: figures.Drawn) -> str:
    return f"Against {cost.how['choices'][0][1]}. {cost.plot.caption}"


def _picture(path: Path, words: str) -> str:
    first = words.partition(". ")[0]
    return f"![{escape(first)}]({path.parent.name}/{path.name})\n\n*{escape(words)}*"


def _config(told: Told) -> list[str]:
    rows = [
        [
            code(key),
            ", ".join(f"{code(value)} ({count})" for value, count in counts),
            code(own) if own else "as the run",
        ]
        for key, counts, own in swept_keys(told)
    ]
    return [
        "## Swept keys, with the number of runs",
        table(["key", "values", "baseline"], rows, text=3),
    ]
