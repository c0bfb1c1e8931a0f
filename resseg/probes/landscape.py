"""The loss on a plane through the weights, filter-normalised (M15; Li 2018).

The plane is spanned by two random directions in which each filter is as long as the
filter of the weights: at distance 1 every filter has moved by its own length. Norms use
the statistics of the batch, so they fit the weights of every point.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from resseg.console import counting
from resseg.gradient_log.summary import column, where
from resseg.gradients.analysis.slices import filter_normalized, moved
from resseg.probes.probe import Options, Probe, Rows, rows_from
from resseg.probes.subject import Subject
from resseg.runs.tables import Column

COLUMNS = (
    Column("a", "float64", "filter norms", "distance along the first direction"),
    Column("b", "float64", "filter norms", "distance along the second direction"),
    Column("loss", "float64", "", "mean over the batches"),
)
_LEVELS = 20


def measure(subject: Subject, options: Options) -> Rows:
    """On a square grid from -1 to 1 with `options.grid` points to each side of the
    weights, over `options.batches` training batches.
    """
    params = subject.variables["params"]
    keys = jax.random.split(jax.random.key(options.seed))
    directions = tuple(filter_normalized(key, params) for key in keys)
    batches = list(subject.batches(options.batches))

    @jax.jit
    def loss_at(variables, directions, batch, a, b):
        params = moved(variables["params"], directions, a, b)
        return subject.total_loss({**variables, "params": params}, batch, train=True)

    places = np.linspace(-1, 1, 2 * options.grid + 1)
    records = []
    with counting("landscape", len(places) ** 2) as done:
        for a in places:
            for b in places:
                at = (jnp.float32(a), jnp.float32(b))
                losses = [
                    loss_at(subject.variables, directions, batch, *at)
                    for batch in batches
                ]
                records.append({"a": a, "b": b, "loss": np.mean(losses)})
                done(1)
    return rows_from(records, COLUMNS)


def cuts(table: pd.DataFrame) -> pd.DataFrame:
    """The points on both axes."""
    return where(table, (column(table, "a") == 0) | (column(table, "b") == 0))


def draw(table: pd.DataFrame, figure: Figure) -> None:
    """Contours of the plane, and the loss along both directions."""
    left, right = figure.subplots(1, 2)
    plane = table.pivot(index="b", columns="a", values="loss")
    values = np.ma.masked_invalid(plane.to_numpy())
    low, high = values.min(), values.max()
    if high > low:
        # Even steps in the logarithm: a loss rises by orders around its valley.
        base = low if low > 0 else (high - low) * 1e-3
        levels = np.geomspace(base, base + high - low, _LEVELS) - base + low
        filled = left.contourf(
            plane.columns, plane.index, values, levels=levels, cmap="cividis"
        )
        lines = left.contour(filled, levels=levels[::3], colors="white", linewidths=0.6)
        left.clabel(lines, fmt="%.3g", fontsize="x-small")
        figure.colorbar(filled, label="loss", format="%.3g")
    left.plot(0, 0, "+", color="black", markersize=12)
    left.set_aspect("equal")
    left.set_xlabel("a, filter norms")
    left.set_ylabel("b, filter norms")
    for name, other, style, marker in (("a", "b", "-", "o"), ("b", "a", "--", "s")):
        line = table[table[other] == 0]
        right.plot(
            line[name], line["loss"], style, marker=marker, label=f"along {name}"
        )
    right.set_xlabel("distance, filter norms")
    right.set_ylabel("loss")
    right.legend()


def conclude(table: pd.DataFrame) -> list[str]:
    """Where the lowest point is, and how far the loss rises."""
    losses = np.asarray(table["loss"])
    centre = column(table, "a") == 0
    here = column(table, "loss")[centre & (column(table, "b") == 0)].item()
    sentences = [
        f"loss {here:.4g} at the weights, up to {np.nanmax(losses):.4g} around"
    ]
    if np.isnan(losses).any():
        sentences.append(f"{np.isnan(losses).sum()} points have no finite loss")
    lowest = table.iloc[int(np.nanargmin(losses))]
    if lowest["loss"] < here:
        sentences.append(
            f"it is lower, {lowest['loss']:.4g}, at a = {lowest['a']:.2g}, "
            f"b = {lowest['b']:.2g}: the weights are no minimum of this plane"
        )
    return sentences


PROBE = Probe(
    "the loss on a filter-normalised plane through the weights (M15)",
    COLUMNS,
    ("a", "b", "loss"),
    measure,
    draw,
    conclude,
    short=cuts,
)
