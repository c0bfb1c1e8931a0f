"""Gradient logs of runs, in the terminal and as pictures."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from resseg.gradient_log.selection import Selected, Wanted
    from resseg.gradient_log.terminal import LogPrinter
    from resseg.gradient_log.timeline import Timeline


def show_one(
    printer: "LogPrinter", selected: "Selected", picture: Path, wanted: "Wanted"
) -> None:
    """Tables, sentences and pictures of one run.

    Args:
        printer: where the tables and sentences go.
        selected: of the run's log.
        picture: the heat map; the others get its name and a word.
        wanted: what `selected` was selected by.
    """
    import numpy as np

    from resseg.gradient_log import curves
    from resseg.gradient_log.heatmap import save_heatmap
    from resseg.gradient_log.summary import (
        column,
        first_to_last,
        first_trouble,
        summarise,
        where,
    )
    from resseg.gradient_log.timeline import share_by_stage, timelines

    run, rows = selected.run, selected.rows
    lines = timelines(rows)
    summary = summarise(selected.recent)
    printer.say(f"{run.path}: gradient at each fork, {_means(selected)}")
    printer.forks(summary, {line.name: line for line in lines})
    shares = share_by_stage(lines)
    if shares and not wanted.path:
        printer.stages(shares)
    if not (wanted.path or wanted.fork) and not run.blocks.empty:
        among = np.isin(column(run.blocks, "step"), column(selected.recent, "step"))
        printer.blocks(where(run.blocks, among))
    recent = timelines(selected.recent)
    sentences = [first_to_last(summary), _slope(recent), *_events(lines)]
    for sentence in (*sentences, first_trouble(rows)):
        if sentence is not None:
            printer.say(sentence)
    title = f"Gradient flow in {run.path}"
    save_heatmap(rows, picture, title=title)
    files = [picture]
    if not wanted.path:
        files += [_beside(picture, word) for word in ("share", "profile")]
        curves.save_shares(lines, files[1], f"Shares over training, {run.path}")
        about = f"Profile over depth, {run.path}"
        curves.save_profiles(lines, files[2], about, selected.listed)
    for file in files:
        printer.say(f"wrote {file}")


def show_many(
    printer: "LogPrinter",
    selected: "Sequence[Selected]",
    picture: Path,
    normalized: bool,
) -> None:
    """Runs against the first: a table, sentences, one picture.

    Args:
        printer: where the table and sentences go.
        selected: of the log of each run.
        picture: the file.
        normalized: each norm over that of its run's last block.
    """
    from resseg.gradient_log import comparison, curves
    from resseg.gradient_log.timeline import timelines

    labels = comparison.labels(selected)
    printer.say(f"gradient at each fork, run against run, {_means(selected[0])}")
    compared = comparison.side_by_side(selected, normalized=normalized)
    printer.comparison(compared, labels, normalized)
    for key, values in comparison.changed_keys(selected).items():
        listed = " | ".join(repr(value) for value in values)
        printer.say(f"differs: {key} = {listed}")
    for label, each in zip(labels, selected, strict=True):
        sentences = [_slope(timelines(each.recent)), *_events(timelines(each.rows))]
        for sentence in filter(None, sentences):
            printer.say(f"{label}: {sentence}")
    curves.save_comparison(
        [
            (label, timelines(each.recent))
            for label, each in zip(labels, selected, strict=True)
        ],
        picture,
        "Gradient over depth, run against run",
        normalized=normalized,
    )
    printer.say(f"wrote {picture}")


def _means(selected: "Selected") -> str:
    import numpy as np

    steps = np.unique(np.asarray(selected.recent["step"]))
    what = f"{len(steps)} logged steps ({steps[0]} to {steps[-1]})"
    return f"means over {what}" if len(steps) > 1 else f"step {steps[0]}"


def _slope(lines: "Sequence[Timeline]") -> str | None:
    import math

    from resseg.gradient_log.timeline import slope_per_block

    slope = slope_per_block(lines)
    if math.isnan(slope):
        return None
    return (
        f"Profile: the site norm changes x{10**slope:.3g} per block "
        f"(least squares, log10 {slope:+.3f})."
    )


def _events(lines: "Sequence[Timeline]") -> list[str]:
    from resseg.gradient_log.timeline import Trouble, first_events

    # What is not finite is told with its path, by `first_trouble`.
    events = first_events(lines)
    return [str(event) for event in events if event.what != Trouble.NOT_FINITE]


def _beside(picture: Path, word: str) -> Path:
    return picture.with_stem(f"{picture.stem}-{word}")
