"""Runs side by side, where their norms mean the same."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from resseg.config.keys import changing_norms, flatten, later_defaults
from resseg.errors import UserError
from resseg.gradient_log.selection import Selected
from resseg.gradient_log.summary import column, geometric_mean, summarise
from resseg.gradient_log.timeline import timelines
from resseg.runs.dataset import changes, fingerprint

_TOLERANCE = 0.1  # of mean loss pixels: void pixels vary with the crops


class Mismatch(NamedTuple):
    """Two runs whose norms do not mean the same.

    Attributes:
        one, other: their folders.
        difference: the first that makes it so, in words.
    """

    one: Path
    other: Path
    difference: str


class ComparedPath(NamedTuple):
    """A path of a fork in several runs.

    Attributes:
        depth, fork, kind, path: which.
        sites: mean site norm in each run; NaN where a run has no such path.
        shares: mean share, likewise.
    """

    depth: int
    fork: str
    kind: str
    path: str
    sites: list[float]
    shares: list[float]

    @property
    def log10_ratios(self) -> np.ndarray:
        """Of every site norm but the first over the first, `[runs - 1]`."""
        sites = np.array(self.sites)
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.log10(sites[1:] / sites[0])


def mismatch(selected: Sequence[Selected]) -> Mismatch | None:
    """The first two runs that differ in resolution, batch, loss, its denominator or
    scale, or in clipping; None where norms mean the same in all of them."""
    one, *others = selected
    for other in others:
        difference = _difference(one, other)
        if difference:
            return Mismatch(one.run.path, other.run.path, difference)
    return None


def check_comparable(selected: Sequence[Selected]) -> None:
    """Refuses runs whose norms cannot be compared.

    Raises:
        UserError: there is a `mismatch`.
    """
    differing = mismatch(selected)
    if differing is not None:
        raise UserError(
            f"{differing.one} and {differing.other} cannot be compared by norm: "
            f"{differing.difference}; --normalized divides each by that of its last "
            "block"
        )


def _difference(one: Selected, other: Selected) -> str:
    mine, theirs = _keys(one), _keys(other)
    for key in changing_norms():
        if mine.get(key) != theirs.get(key):
            return f"{key} is {mine.get(key)!r} and {theirs.get(key)!r}"
    a, b = (float(column(each.rows, "loss_pixels").mean()) for each in (one, other))
    if abs(a - b) > _TOLERANCE * max(a, b):
        return f"the mean loss_pixels is {a:.6g} and {b:.6g}"
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


def _keys(selected: Selected) -> dict[str, Any]:
    return later_defaults() | flatten(selected.run.config)


def changed_keys(selected: Sequence[Selected]) -> dict[str, list[Any]]:
    """Config keys in which the runs differ, with the value of each.

    With `data`, a fingerprint, where one data set has changed between them.
    """
    flat = [_keys(each) for each in selected]
    keys = dict.fromkeys(key for one in flat for key in one)
    values = {key: [one.get(key) for one in flat] for key in keys}
    changed = {
        key: listed
        for key, listed in values.items()
        if any(value != listed[0] for value in listed)
    }
    known = [each.run.dataset for each in selected]
    named = any(key.startswith("data.") for key in changed)
    if not named and any(changes(known[0], each) for each in known):
        changed["data"] = [fingerprint(each) for each in known]
    return changed


def side_by_side(
    selected: Sequence[Selected], *, normalized: bool
) -> list[ComparedPath]:
    """Every path of every fork, in depth order.

    Args:
        selected: the runs; means over their `recent` rows.
        normalized: sites over the total of the last block of the same run.
    """
    compared: dict[tuple[str, str], ComparedPath] = {}
    for number, each in enumerate(selected):
        unit = reference(each.recent) if normalized else 1.0
        for fork in summarise(each.recent):
            for path in fork.paths:
                nowhere = [math.nan] * len(selected)
                entry = compared.setdefault(
                    (fork.name, path.path),
                    ComparedPath(
                        *(fork.depth, fork.name, fork.kind, path.path),
                        sites=list(nowhere),
                        shares=list(nowhere),
                    ),
                )
                entry.sites[number] = path.site / unit
                entry.shares[number] = path.share
    return sorted(compared.values(), key=lambda each: each.depth)


def reference(rows: pd.DataFrame) -> float:
    """Site norm of the last block, mean over the steps; NaN if it has none."""
    blocks = [line for line in timelines(rows) if line.kind == "block"]
    mean = geometric_mean(blocks[-1].total) if blocks else float("nan")
    return mean if mean > 0 else float("nan")
