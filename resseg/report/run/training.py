"""Training and validation as figures and tables of a page."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from resseg.gradient_log.summary import column, where
from resseg.report.page import formatting
from resseg.report.page.document import Plot, figure
from resseg.report.page.markup import Html, tag
from resseg.report.run.facts import Facts

_ROWS = 2000  # of a curve on a page at most
_CURVES = 12  # classes drawn one by one at most
_SKIPPED = ("split", "step", "loss", "mean_iou", "learning_rate", "grad_norm")
_SCALARS = ("loss_pixels", "clip_factor", "loss_scale", "loss_scale_overflows")


def thin(frame: pd.DataFrame) -> pd.DataFrame:
    """At most 2000 rows, evenly, the first and the last among them."""
    if len(frame) <= _ROWS:
        return frame
    return where(frame, np.isin(np.arange(len(frame)), _places(len(frame))))


def _places(count: int) -> np.ndarray:
    return np.linspace(0, count - 1, _ROWS).round().astype(int)


def train_table(rows: pd.DataFrame) -> dict[str, Any]:
    """The log of training steps as a table of the page."""
    rows = thin(rows.drop(columns=["split"], errors="ignore"))
    names = [name for name in rows.columns if not _is_list(rows, name)]
    return {"columns": names, "rows": [list(row) for row in _records(rows, names)]}


def validation_table(rows: pd.DataFrame, classes: Sequence[str]) -> dict[str, Any]:
    """The evaluations; scores by class in columns of their own."""
    rows = thin(rows.drop(columns=["split"], errors="ignore"))
    lists = [name for name in rows.columns if _is_list(rows, name)]
    names = [name for name in rows.columns if name not in lists]
    columns = list(names)
    records = [list(row) for row in _records(rows, names)]
    for name in lists:
        values = [list(value) for value in rows[name]]
        if not values or np.ndim(values[0][:1]) != 1:
            continue
        columns += [class_column(name, label) for label in classes]
        for record, value in zip(records, values, strict=True):
            record += value[: len(classes)]
            record += [None] * (len(classes) - len(value))
    return {"columns": columns, "rows": records}


def class_column(score: str, name: str) -> str:
    """The column of a class in the table of evaluations: `iou disc`."""
    return f"{score} {name}"


def _is_list(rows: pd.DataFrame, name: str) -> bool:
    return any(isinstance(value, list) for value in rows[name])


def _records(rows: pd.DataFrame, names: Sequence[str]):
    return rows[list(names)].itertuples(index=False, name=None)


def curves(
    train: pd.DataFrame, validation: pd.DataFrame, facts: Facts
) -> list[tuple[Plot, dict[str, Any]]]:
    """The figures, and for each what the script draws: table, columns, axes."""
    curves_ = []
    every = _every(train)
    if not train.empty:
        terms = [
            name
            for name in train.columns
            if name not in (*_SKIPPED, *_SCALARS) and not _is_list(train, name)
        ]
        weighted = [["loss", "loss"]] + [[name, name] for name in terms]
        curves_.append(
            (
                Plot(
                    "curve-loss",
                    "Training loss",
                    f"The loss of the batch of a step and its terms before they are "
                    f"weighted, {every}. One run, nothing is smoothed.",
                    _in_words("Training loss", train, "loss"),
                    "train",
                ),
                {"table": "train", "columns": weighted, "unit": "loss"},
            )
        )
        curves_.append(
            (
                Plot(
                    "curve-rate",
                    "Gradient norm and learning rate",
                    "l2 norm of the gradient of all parameters before clipping (left, "
                    f"log scale), learning rate (right), {every}.",
                    _in_words("Gradient norm", train, "grad_norm"),
                    "train",
                ),
                {
                    "table": "train",
                    "columns": [
                        ["grad_norm", "gradient norm"],
                        ["learning_rate", "learning rate", 2],
                    ],
                    "unit": "gradient norm",
                    "unit2": "learning rate",
                    "log": True,
                },
            )
        )
    if not validation.empty:
        curves_ += _scores(validation, facts)
    return curves_


def _scores(
    validation: pd.DataFrame, facts: Facts
) -> list[tuple[Plot, dict[str, Any]]]:
    count = formatting.plural(len(validation), "evaluation")
    means = [
        [name, label]
        for name, label in (
            ("mean_iou", "mean IoU"),
            ("mean_dice", "mean Dice"),
            ("mean_boundary_iou", "mean boundary IoU"),
            ("pixel_accuracy", "pixel accuracy"),
        )
        if name in validation
    ]
    curves_ = [
        (
            Plot(
                "curve-scores",
                "Validation scores",
                f"Each from one confusion matrix over the whole split; {count}, one "
                "run, so no interval is drawn.",
                _in_words("Mean IoU", validation, "mean_iou"),
                "validation",
            ),
            {"table": "validation", "columns": means, "unit": "score", "share": True},
        )
    ]
    if "iou" in validation and facts.classes:
        kept = _hardest(facts)
        names = [facts.classes[place] for place in kept]
        some = ""
        if len(kept) < len(facts.classes):
            some = f" (lowest IoU at the end) of {len(facts.classes)}"
        curves_.append(
            (
                Plot(
                    "curve-classes",
                    "Validation IoU by class",
                    f"{len(kept)}{some} classes; {count}. A class that is in neither "
                    "truth nor prediction has none.",
                    "IoU of each class over the evaluations; the table of classes has "
                    "the last.",
                    "validation",
                ),
                {
                    "table": "validation",
                    "columns": [
                        [class_column("iou", name), formatting.shorten(name)]
                        for name in names
                    ],
                    "unit": "IoU",
                    "share": True,
                },
            )
        )
    return curves_


def _hardest(facts: Facts) -> list[int]:
    """Places of the classes to draw: all, or those with the lowest IoU."""
    places = list(range(len(facts.classes)))
    if len(places) <= _CURVES:
        return places
    iou = np.asarray(facts.scores.get("iou", np.zeros(len(places))), float)
    return sorted(np.argsort(np.where(np.isnan(iou), 2, iou))[:_CURVES].tolist())


def _every(train: pd.DataFrame) -> str:
    if len(train) < 2:
        return "one logged step"
    stride = int(np.median(np.diff(column(train, "step"))))
    each = "every step" if stride == 1 else f"every {stride} steps"
    return f"logged {each}, {len(train):,} rows"


def _in_words(what: str, rows: pd.DataFrame, name: str) -> str:
    """A curve in a sentence."""
    values = column(rows, name).astype(float)
    steps = column(rows, "step")
    best = ""
    if np.isfinite(values).any():
        lowest, highest = np.nanmin(values), np.nanmax(values)
        ends = (formatting.number(lowest), formatting.number(highest))
        best = f"; lowest {ends[0]}, highest {ends[1]}"
    return (
        f"{what}: {formatting.number(values[0])} at step {steps[0]:,}, "
        f"{formatting.number(values[-1])} at step {steps[-1]:,}{best}."
    )


def figures(plots: Sequence[tuple[Plot, dict[str, Any]]]) -> Html:
    """Curves, two beside each other where there is room."""
    return tag("div", *[figure(plot) for plot, _ in plots], cls="pair")
