"""A run as Markdown with figures as PNG, for a README."""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from resseg import figures
from resseg.errors import UserError
from resseg.gradient_log import curves
from resseg.gradient_log.heatmap import save_heatmap
from resseg.gradient_log.timeline import Timeline
from resseg.report.page import formatting
from resseg.report.page.files import write
from resseg.report.run import page
from resseg.report.run.facts import RunState, config_value
from resseg.report.run.flow import recent_share, recent_site
from resseg.report.run.page import RunReport

_MATRIX = 25  # classes of a confusion matrix whose cells hold numbers at most
_MARKS = re.compile(r"([\\`*_{}\[\]<>#|~&$])")


def save(path: str | Path, out: Path) -> None:
    """Writes the Markdown file, and its figures into a folder of its name beside it.

    Raises:
        UserError: it is no run folder, or the folder of figures cannot be made.
    """
    one = page.read(path)
    folder = out.with_suffix("")
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise UserError(f"{folder} cannot be made: {error.strerror}") from error
    text = "\n\n".join([*_headline(one), *_gradients(one, folder), *_rest(one, folder)])
    write(out, text + "\n")


def escape(text: object) -> str:
    """Text that Markdown shows as it is, in one line."""
    return _MARKS.sub(r"\\\1", " ".join(str(text).split()))


def code(text: object) -> str:
    """A value in code marks; it may hold such marks itself, but no cell's border."""
    words = " ".join(str(text).split()).replace("|", "\\|")
    fence = "`" * (max(map(len, re.findall("`+", words)), default=0) + 1)
    pad = " " if "`" in words else ""
    return f"{fence}{pad}{words}{pad}{fence}"


def table(head: Sequence[str], rows: Sequence[Sequence[str]], text: int = 1) -> str:
    """A table; its first `text` columns are text, the others numbers."""
    rule = ["---" if at < text else "---:" for at in range(len(head))]
    return "\n".join(f"| {' | '.join(row)} |" for row in [head, rule, *rows])


def _headline(one: RunReport) -> list[str]:
    facts = one.facts
    parts = [f"# {escape(facts.name)}", f"{escape(facts.model)}. {escape(facts.data)}."]
    of = "" if facts.steps is None else f" of {facts.steps:,}"
    if facts.state in (RunState.WRITTEN, RunState.UNFINISHED):
        parts.append(f"**This run is {facts.state}: step {facts.step:,}{of}.**")
    if one.findings:
        parts.append("**What stands out**")
        parts.append("\n".join(f"- {escape(each.text)}" for each in one.findings))
    score = formatting.score(facts.mean_iou) if facts.scores else "not yet"
    row = [
        score,
        f"{facts.step:,}{of}",
        formatting.duration(facts.seconds),
        formatting.large(facts.params),
        formatting.large(facts.macs),
        str(facts.seed),
    ]
    head = ["mean IoU", "steps", "time of steps", "parameters", "MACs", "seed"]
    return [*parts, table(head, [row], text=0)]


def _gradients(one: RunReport, folder: Path) -> list[str]:
    flow = one.flow
    if flow is None:
        return []
    files = [folder / f"{word}.png" for word in ("heatmap", "shares", "profiles")]
    save_heatmap(one.run.gradients, files[0])
    curves.save_shares(flow.lines, files[1], "Shares over training")
    curves.save_profiles(flow.lines, files[2], "Profile over depth")
    rows = [_fork(line) for line in flow.lines]
    head = ["fork", "paths", "site norm, 1st", "2nd", "share, 1st"]
    return [
        "## Gradient flow",
        _picture(
            files[0],
            "Heat map, depth × step, of log10 site norm; white: the median of all, "
            "black: not finite, yellow: exactly 0",
        ),
        _picture(files[2], "Site norm and shortcut share over depth at some steps"),
        _picture(files[1], "Shares over training"),
        "Means over the last 50 logged steps, one run:",
        table(head, rows, text=2),
    ]


def _fork(line: Timeline) -> list[str]:
    sites = [
        "0 (dead)" if not site.any() else formatting.number(recent_site(site))
        for site in line.site
    ]
    second = sites[1] if len(sites) == 2 else formatting.NOTHING
    share = formatting.percent(recent_share(line))
    return [code(line.name), escape(", ".join(line.paths)), sites[0], second, share]


def _rest(one: RunReport, folder: Path) -> list[str]:
    facts, parts = one.facts, []
    if not (one.train.empty and one.validation.empty):
        _save_training(one, folder / "training.png")
        words = "Training loss and validation mean IoU over the steps; one run"
        parts += ["## Training", _picture(folder / "training.png", words)]
    if facts.scores and facts.classes:
        iou = facts.scores["iou"]
        rows = [
            [escape(name), formatting.score(value)]
            for name, value in zip(facts.classes, iou, strict=False)
        ]
        parts += ["## Classes", table(["class", "IoU"], rows)]
    if one.predictions.confusion is not None:
        path = folder / "confusion.png"
        _save_confusion(one.predictions.confusion, one.predictions.classes, path)
        parts.append(_picture(path, "Confusion matrix: share of each true class"))
    changed = [
        [code(key), code(config_value(here)), code(config_value(base))]
        for key, (here, base) in facts.changed.items()
    ]
    if changed:
        parts.append("## Config, where it differs from the base config")
        parts.append(table(["key", "value", "base"], changed, text=3))
    command = facts.environment.get("command")
    if command:
        parts += ["## Command", code(command)]
    return parts


def _picture(path: Path, words: str) -> str:
    return f"![{escape(words)}]({path.parent.name}/{path.name})\n\n*{escape(words)}.*"


def _save_training(one: RunReport, path: Path) -> None:
    figure = figures.new_figure(9, 3.2)
    left, right = figure.subplots(1, 2)
    _curve(left, one.train, "loss", 0)
    _curve(right, one.validation, "mean_iou", 1)
    left.set_ylabel("training loss")
    right.set_ylabel("validation mean IoU")
    figures.save(figure, path)


def _curve(axes: Axes, frame, name: str, number: int) -> None:
    axes.set_xlabel("step")
    axes.grid(alpha=0.3)
    if name in frame:
        axes.plot(frame["step"], frame[name], **figures.style(number))


def _save_confusion(matrix: np.ndarray, classes: Sequence[str], path: Path) -> None:
    share = matrix / np.maximum(matrix.sum(axis=1), 1)[:, None]
    count = len(classes)
    side = max(4.0, 1.5 + 0.45 * min(count, 30))
    figure = figures.new_figure(side + 1, side)
    axes = figure.subplots()
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    names = [name[:24] for name in classes]
    axes.set_xticks(range(count), names, rotation=90)
    axes.set_yticks(range(count), names)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    if count <= _MATRIX:
        for i, j in np.ndindex(share.shape):
            shade = "white" if share[i, j] > 0.5 else "black"
            words = f"{share[i, j]:.2f}"
            axes.text(j, i, words, ha="center", va="center", color=shade, fontsize=7)
    figures.save(figure, path)
