"""What a run was: notes and denominators, coefficients, config, environment."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from resseg.config.keys import flatten
from resseg.gradient_log.summary import column
from resseg.report.page import formatting
from resseg.report.page.document import Plot, figure, filter_field
from resseg.report.page.markup import EMPTY, Cell, Html, join, table, tag
from resseg.report.run.facts import Facts, config_value
from resseg.report.run.flow import Flow
from resseg.runs.reader import Run

COEFFICIENTS = "coefficients"  # split of the metrics' lines that hold them
_MOVES = ("linear", "depth", "power")
_CURVES = 7  # coefficients drawn; the table holds all


def warnings(facts: Facts, flow: Flow | None, train: pd.DataFrame) -> Html:
    """What has to be known to read the numbers right."""
    notes: list[str] = []
    if flow is not None:
        pixels = flow.loss_pixels
        notes.append(
            "The loss of a step is a mean over the valid pixels of its batch: "
            f"{_range(pixels)}. Site norms are multiplied by this number."
        )
        bad = int((flow.nonfinite > 0).any(axis=0).sum())
        notes.append(
            f"Steps with a gradient that is not finite: {bad:,} of "
            f"{len(flow.steps):,} logged."
        )
        empty = int((pixels == 0).sum())
        if empty:
            notes.append(
                f"{formatting.plural(empty, 'logged step')} had no valid pixel at all."
            )
    if "clip_factor" in train:
        factor = column(train, "clip_factor").astype(float)
        clipped = int((factor < 1).sum())
        if clipped:
            notes.append(
                f"Clipping shortened the parameter gradient in {clipped:,} of "
                f"{len(factor):,} logged rows, to ×{formatting.number(factor.min())} "
                "at most. Path gradients on this page are before clipping."
            )
    absent = [
        name
        for name, value in zip(facts.classes, facts.scores.get("iou", ()), strict=False)
        if not np.isfinite(value)
    ]
    if absent:
        notes.append(
            f"In neither truth nor prediction, so in no mean: {', '.join(absent)}."
        )
    notes.append(
        "Scores come from one confusion matrix over the whole split at original image "
        "size; void pixels count nowhere. Whether images were skipped is not recorded."
    )
    notes.append(
        "This is one run of one seed: nothing on this page says how much another seed "
        "would differ."
    )
    earlier = facts.environment.get("earlier_starts") or []
    if earlier:
        notes.append(
            f"Started {len(earlier) + 1} times: each start went on from a checkpoint."
        )
    git = facts.environment.get("git") or {}
    if git.get("dirty"):
        notes.append("The code was changed against its commit when the run started.")
    return tag("ul", *[tag("li", note) for note in notes])


def _range(pixels: np.ndarray) -> str:
    least, most = pixels.min(), pixels.max()
    if least == most:
        return f"{formatting.count(least)} in every step"
    median = formatting.count(float(np.median(pixels)))
    return (
        f"{formatting.count(least)} to {formatting.count(most)}, {median} in the median"
    )


def coefficients(rows: pd.DataFrame, facts: Facts) -> Html:
    """Values over training where the run logged them, schedules of the config."""
    parts = []
    if not rows.empty:
        parts.append(
            figure(
                Plot(
                    "curve-coefficients",
                    "Coefficients and gates over training",
                    f"Means over the channels, {formatting.plural(len(rows), 'row')}; "
                    f"the first {_CURVES} are drawn, the CSV holds all.",
                    "Coefficients over the steps; the CSV holds the values.",
                    "coefficients",
                )
            )
        )
    set_ = [
        (key, here)
        for key, (here, _) in facts.changed.items()
        if isinstance(here, dict) and any(word in here for word in _MOVES)
    ]
    if set_:
        items = [
            tag("li", tag("code", f"{key} = {config_value(here)}"))
            for key, here in set_
        ]
        parts += [tag("p", "Set by the config over steps or depth:"), tag("ul", *items)]
    return join(parts) if parts else EMPTY


def coefficient_curve(rows: pd.DataFrame) -> dict[str, Any]:
    """What the script draws of them."""
    names = [name for name in rows.columns if name not in ("step", "split")]
    return {
        "id": "curve-coefficients",
        "table": "coefficients",
        "columns": [[name, name] for name in names[:_CURVES]],
        "unit": "coefficient",
    }


def config(run: Run, facts: Facts) -> Html:
    """Every key, those that differ from the base marked; these alone at first."""
    flat = flatten(run.config)
    keys = [*facts.changed, *(key for key in flat if key not in facts.changed)]
    rows, attributes = [], []
    for key in keys:
        changed = key in facts.changed
        base = config_value(facts.changed[key][1]) if changed else ""
        rows.append(
            [
                Cell(tag("code", key), key),
                Cell(tag("code", config_value(flat[key]))),
                Cell(tag("code", base) if changed else "as the base"),
            ]
        )
        attributes.append({"cls": "changed" if changed else None})
    controls = tag(
        "p",
        filter_field("config-filter", "config-table", example="gradient"),
        tag(
            "label",
            tag(
                "input",
                type="checkbox",
                data_only="config-table",
                checked=True,
            ),
            " only what differs from the base config",
        ),
        cls="controls",
    )
    caption = (
        f"{len(facts.changed)} of {len(flat)} keys differ from the base config, in bold"
    )
    listed = table(
        caption,
        ["key", "value", "base"],
        rows,
        text_columns=3,
        attributes=attributes,
        id_="config-table",
    )
    return join([controls, listed])


def environment(facts: Facts) -> Html:
    """Versions, devices, commit, command; what is missing is said."""
    recorded = facts.environment
    if not recorded:
        return tag("p", formatting.MISSING, cls="soft")
    devices = recorded.get("devices") or {}
    git = recorded.get("git") or {}
    packages = recorded.get("packages") or {}
    values: Sequence[tuple[str, object]] = (
        ("command", tag("code", recorded.get("command", formatting.MISSING))),
        ("started", recorded.get("started", formatting.MISSING)),
        ("devices", f"{devices.get('count', '?')} × {devices.get('kind', '?')}"),
        ("commit", tag("code", git.get("commit", formatting.MISSING))),
        ("python", f"{recorded.get('python', '?')}, {recorded.get('platform', '?')}"),
        ("packages", ", ".join(f"{name} {v}" for name, v in packages.items())),
        ("earlier starts", str(len(recorded.get("earlier_starts") or []))),
    )
    items = []
    for name, value in values:
        text = value if isinstance(value, Html) else str(value)
        items += [tag("dt", name), tag("dd", text)]
    return tag("dl", *items, cls="env")


def image_table(images: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The score of every image as a table of the page."""
    columns = ["name", "mean_iou", "pixel_accuracy"]
    return {
        "columns": columns,
        "rows": [[image.get(name) for name in columns] for image in images],
    }
