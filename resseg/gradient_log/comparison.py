"""Runs side by side, where their norms mean the same."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from resseg.config.keys import changing_norms, flatten
from resseg.errors import UserError
from resseg.gradient_log.selection import Selected
from resseg.gradient_log.summary import column, geometric_mean, summarise
from resseg.gradient_log.timeline import timelines

_TOLERANCE = 0.1  # of mean loss pixels: void pixels vary with the crops


def check_comparable(selected: Sequence[Selected]) -> None:
    """Refuses runs whose norms cannot be compared.

    Raises:
        UserError: they differ in resolution, batch, loss, its denominator or scale, or
            in clipping; the message names the first difference.
    """
    one, *others = selected
    for other in others:
        difference = _difference(one, other)
        if difference:
            raise UserError(
                f"{one.run.path} and {other.run.path} cannot be compared by norm: "
                f"{difference}; --normalized divides each by that of its last block"
            )


def _difference(one: Selected, other: Selected) -> str:
    mine, theirs = (flatten(each.run.config) for each in (one, other))
    for key in changing_norms():
        if mine.get(key) != theirs.get(key):
            return f"{key} is {mine.get(key)!r} and {theirs.get(key)!r}"
    for name in ("loss_pixels", "loss_scale"):
        a, b = (float(column(each.rows, name).mean()) for each in (one, other))
        if abs(a - b) > _TOLERANCE * max(a, b):
            return f"the mean {name} is {a:.6g} and {b:.6g}"
    return ""


def labels(selected: Sequence[Selected]) -> list[str]:
    """Names that tell the runs apart; where one key differs, what it is in each."""
    names = _names(selected)
    changed = changed_keys(selected)
    if len(changed) != 1:
        return names
    ((key, values),) = changed.items()
    word = key.removeprefix("model.")
    return [f"{n}: {word}={v}" for n, v in zip(names, values, strict=True)]


def _names(selected: Sequence[Selected]) -> list[str]:
    """The parts of their paths that differ."""
    parts = [each.run.path.resolve().parts for each in selected]
    length = 1
    while length < max(map(len, parts)):
        names = ["/".join(part[-length:]) for part in parts]
        if len(set(names)) == len(names):
            return names
        length += 1
    return [str(each.run.path) for each in selected]


def changed_keys(selected: Sequence[Selected]) -> dict[str, list[Any]]:
    """Config keys in which the runs differ, with the value of each."""
    flat = [flatten(each.run.config) for each in selected]
    keys = dict.fromkeys(key for one in flat for key in one)
    values = {key: [one.get(key) for one in flat] for key in keys}
    return {
        key: listed
        for key, listed in values.items()
        if any(value != listed[0] for value in listed)
    }


def side_by_side(selected: Sequence[Selected], *, normalized: bool) -> pd.DataFrame:
    """One row per fork and path: mean site norm and share in each run.

    Columns: depth, fork, kind, path, then `site I` and `share I` for run I from 0; NaN
    where a run has no such path.

    Args:
        selected: the runs; means over their `recent` rows.
        normalized: sites over the total of the last block of the same run.
    """
    table: dict[tuple[str, str], dict[str, Any]] = {}
    for number, each in enumerate(selected):
        for key, row in _means(each.recent, normalized).items():
            entry = table.setdefault(key, row["fork"])
            entry[f"site {number}"] = row["site"]
            entry[f"share {number}"] = row["share"]
    names = ["depth", "fork", "kind", "path"]
    for number in range(len(selected)):
        names += [f"site {number}", f"share {number}"]
    frame = pd.DataFrame(list(table.values()), columns=names)
    return frame.sort_values("depth", kind="stable", ignore_index=True)


def _means(
    rows: pd.DataFrame, normalized: bool
) -> dict[tuple[str, str], dict[str, Any]]:
    forks = summarise(rows)
    unit = reference(rows) if normalized else 1.0
    means = {}
    for fork in forks:
        for path in fork.paths:
            means[fork.name, path.path] = {
                "fork": {
                    "depth": fork.depth,
                    "fork": fork.name,
                    "kind": fork.kind,
                    "path": path.path,
                },
                "site": path.site / unit,
                "share": path.share,
            }
    return means


def reference(rows: pd.DataFrame) -> float:
    """Site norm of the last block, mean over the steps; NaN if it has none."""
    blocks = [line for line in timelines(rows) if line.kind == "block"]
    mean = geometric_mean(blocks[-1].total) if blocks else float("nan")
    return mean if mean > 0 else float("nan")


def ratios(table: pd.DataFrame, count: int) -> pd.DataFrame:
    """With a column `log10 I/0` for every run but the first."""
    with np.errstate(divide="ignore", invalid="ignore"):
        for number in range(1, count):
            table[f"log10 {number}/0"] = np.log10(
                table[f"site {number}"] / table["site 0"]
            )
    return table
