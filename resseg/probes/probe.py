"""What every probe is: a measurement, the columns of its table, and a figure."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from resseg.errors import UserError
from resseg.probes.subject import Subject
from resseg.runs.tables import Column

Rows = Mapping[str, Sequence]


class Options(NamedTuple):
    """What a user may say to a probe; each reads what it needs.

    Attributes:
        batches: training batches to average over.
        samples: random vectors, orders, pairs or directions to draw.
        iterations: of power iteration or Lanczos.
        seed: of what is drawn.
        reestimate: re-estimate the statistics of batch norms after each change.
        by: "" | class | boundary: pixels whose loss is taken apart.
        images: of the evaluation split that are scored, at least; 0 = all.
        longest: length up to which paths are told apart.
        grid: points of a loss landscape to each side of the weights.
    """

    batches: int = 2
    samples: int = 8
    iterations: int = 20
    seed: int = 0
    reestimate: bool = False
    by: str = ""
    images: int = 0
    longest: int = 16
    grid: int = 5


class Probe(NamedTuple):
    """A measurement on demand.

    Attributes:
        summary: one line for `--help`.
        columns: of its table.
        printed: names of the columns that the terminal shows.
        measure: gives the table, by column.
        draw: draws the table into an empty figure.
        conclude: sentences on what came out.
        second_order: needs second derivatives, so it refuses a scaled backward pass.
        short: the rows that the terminal shows, where they are not all; without the
            columns of `printed` that say nothing there.
    """

    summary: str
    columns: tuple[Column, ...]
    printed: tuple[str, ...]
    measure: Callable[[Subject, Options], Rows]
    draw: Callable[[pd.DataFrame, Figure], None]
    conclude: Callable[[pd.DataFrame], list[str]] = lambda table: []
    second_order: bool = False
    short: Callable[[pd.DataFrame], pd.DataFrame] = lambda table: table


def rows_from(records: Sequence[Mapping], columns: Sequence[Column]) -> dict[str, list]:
    """Records as columns, in the types that the columns say."""
    kinds = {"int64": int, "float64": float, "str": str}
    return {
        column.name: [kinds[column.dtype](record[column.name]) for record in records]
        for column in columns
    }


def require_linear_backward(subject: Subject, name: str) -> None:
    """Refuses a network that rescales its cotangents: parts would not add up.

    Raises:
        UserError: it does.
    """
    gradient = subject.config.model.gradient
    for key, neutral in (("normalize", "no"), ("surgery", "no"), ("clip_sites", 0.0)):
        if gradient[key] != neutral:
            raise UserError(
                f"config.model.gradient.{key}={gradient[key]!r}: --what {name} needs a "
                f"backward pass that is linear in the gradient; expected {neutral!r}"
            )


def slope(depth: ArrayLike, log_values: ArrayLike) -> float:
    """Least-squares slope over depth; NaN where fewer than two values are finite."""
    x, y = np.asarray(depth, float), np.asarray(log_values, float)
    good = np.isfinite(y)
    if good.sum() < 2:
        return float("nan")
    return float(np.polyfit(x[good], y[good], 1)[0])
