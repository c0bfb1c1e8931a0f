"""Scores by class, and the confusion matrix, as tables of a page."""

from collections.abc import Sequence

import numpy as np

from resseg.report.page import formatting
from resseg.report.page.document import csv_button
from resseg.report.page.markup import Cell, Html, escape, join, table, tag
from resseg.report.run.facts import Facts

_MATRIX = 25  # classes of a confusion matrix that is shown whole


def class_table(facts: Facts, colors: Sequence[str]) -> Html:
    """The scores of every class at the last evaluation, IoU as bars."""
    keys = [
        (key, label)
        for key, label in (
            ("dice", "Dice"),
            ("boundary_iou", "boundary IoU"),
            ("class_accuracy", "accuracy"),
        )
        if key in facts.scores
    ]
    rows = []
    for place, name in enumerate(facts.classes):
        iou = _at(facts.scores["iou"], place)
        color = colors[place]
        swatch = tag("span", cls="swatch", style=f"background: {color}")
        width = 100 * (iou or 0.0)
        bar = tag(
            "span",
            tag("span", cls="bar", style=f"width: {width:.1f}%"),
            cls="bar-ground",
            aria_hidden="true",
        )
        row: list[Cell] = [
            Cell(join([swatch, escape(name)]), name),
            Cell(bar, -1.0 if iou is None else iou),
            Cell(formatting.score(iou), -1.0 if iou is None else iou),
        ]
        for key, _ in keys:
            value = _at(facts.scores[key], place)
            row.append(Cell(formatting.score(value), -1.0 if value is None else value))
        rows.append(row)
    return table(
        f"Scores at step {facts.scored_at:,}; – = the class is in neither truth nor "
        "prediction and counts in no mean",
        ["class", "IoU, 0 to 1", "IoU", *(label for _, label in keys)],
        rows,
        text_columns=2,
        id_="class-table",
    )


def _at(values: Sequence[float], place: int) -> float | None:
    value = values[place] if place < len(values) else None
    return None if value is None or not np.isfinite(value) else float(value)


def confusion(matrix: np.ndarray, classes: Sequence[str], split: str) -> Html:
    """The confusion matrix as a table, shares of the true pixels; large ones: the
    largest confusions alone."""
    true = matrix.sum(axis=1)
    share = matrix / np.maximum(true, 1)[:, None]
    download = csv_button("confusion", "confusion matrix")
    if len(classes) > _MATRIX:
        return join([_largest(matrix, share, classes), tag("p", download)])
    head = [
        tag("th", "true ↓  predicted →", scope="col"),
        *[
            tag("th", formatting.shorten(name), scope="col", title=name)
            for name in classes
        ],
        tag("th", "pixels", scope="col"),
    ]
    body = []
    for i, name in enumerate(classes):
        cells = [tag("th", formatting.shorten(name), scope="row", title=name)]
        for j in range(len(classes)):
            value = float(share[i, j]) if true[i] else None
            cells.append(
                tag(
                    "td",
                    formatting.percent(value),
                    cls="diagonal" if i == j else None,
                    style=_ground(value or 0.0, right=i == j),
                    title=f"{int(matrix[i, j]):,} pixels",
                )
            )
        cells.append(tag("td", f"{int(true[i]):,}"))
        body.append(tag("tr", *cells))
    words = f"Share of the pixels of each true class, {split} split, last evaluation; "
    inner = tag(
        "table",
        tag("caption", words, "void is not counted. ", download),
        tag("thead", tag("tr", *head)),
        tag("tbody", *body),
        cls="confusion",
    )
    return tag(
        "div",
        inner,
        cls="scroll",
        tabindex="0",
        role="region",
        aria_label="Confusion matrix",
    )


def _ground(value: float, *, right: bool) -> str:
    """A pale ground whose strength is the share, on which text stays readable."""
    color = "var(--c0)" if right else "var(--c1)"
    strength = f"{38 * min(value, 1):.0f}%"
    return f"background: color-mix(in srgb, {color} {strength}, transparent)"


def _largest(matrix: np.ndarray, share: np.ndarray, classes: Sequence[str]) -> Html:
    off = share * (1 - np.eye(len(classes)))
    order = np.argsort(off, axis=None)[::-1][:_MATRIX]
    rows = []
    for cell in order:
        i, j = divmod(int(cell), len(classes))
        value = float(off[i, j])
        rows.append(
            [
                classes[i],
                classes[j],
                Cell(formatting.percent(value), value),
                Cell(f"{int(matrix[i, j]):,}", int(matrix[i, j])),
            ]
        )
    return table(
        f"The {_MATRIX} largest confusions of {len(classes)} classes",
        ["true", "predicted as", "share of the true pixels", "pixels"],
        rows,
        text_columns=2,
    )
