"""What half precision would lose of the gradient, at every path of every fork (M23).

A float16 below 2^-24 is zero and below 2^-14 has fewer than eleven bits; a bfloat16 has
the exponents of float32 and loses what lies below 2^-126. Under a loss that is a mean
over pixels cotangents shrink as 1/pixels, so it is the large images that underflow; a
factor on the loss shifts every exponent by the same number.
"""

from collections.abc import Mapping

import jax
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from resseg.gradient_log.summary import column, where
from resseg.gradients.analysis.cotangents import (
    BIAS,
    NONFINITE,
    SUBNORMAL,
    ZERO,
    exponent_counts,
    with_offsets,
    zero_offsets,
)
from resseg.probes.probe import Options, Probe, Rows, rows_from
from resseg.probes.subject import Subject
from resseg.runs.tables import Column

KEPT = 0.999  # share of the non-zero entries that a loss scale has to save
SMALLEST, SMALLEST_NORMAL = -24, -14  # exponents of float16
_LARGEST = 14  # exponent whose numbers, and their roundings, float16 surely holds
_LABELS = 40  # paths that are named in the figure, at most

COLUMNS = (
    Column("depth", "int64", "forks", "position of the fork in depth order, 0 first"),
    Column("fork", "str", "", "module path of the fork"),
    Column("path", "str", "", "shortcut, branch, skip, deeper, aux or pyramid branch"),
    Column("numel", "int64", "entries", "cotangents of the path, over all batches"),
    Column("zero", "float64", "1", "share of the entries that are exactly 0"),
    Column("below_fp16", "float64", "1", "share below 2^-24, of those not 0"),
    Column("subnormal_fp16", "float64", "1", "share below 2^-14, of those not 0"),
    Column("below_bf16", "float64", "1", "share below 2^-126, of those not 0"),
    Column("nonfinite", "int64", "entries", "NaN and infinite entries"),
    Column(
        "scale_log2", "int64", "log2", "smallest loss scale that keeps 99.9 % in fp16"
    ),
    Column(
        "headroom_log2", "int64", "log2", "largest loss scale that overflows no entry"
    ),
    Column("exponent", "int64", "log2", "histogram: e counts 2^e <= |g| < 2^(e+1)"),
    Column("count", "int64", "entries", "histogram: entries of that exponent, not 0"),
)


def measure(subject: Subject, options: Options) -> Rows:
    """Counts over `options.batches` training batches, at the scale of the loss.

    One row per fork, path and exponent; an exponent of -127 stands for all below
    2^-126. A path of zeros alone has one row, of exponent 0 and count 0.
    """
    offsets = zero_offsets(subject.forks)

    @jax.jit
    def of_batch(variables, batch, offsets):
        def loss(offsets):
            return with_offsets(
                subject.total_loss, offsets, variables, batch, train=True
            )

        return jax.tree.map(exponent_counts, jax.grad(loss)(offsets))

    totals: dict[str, np.ndarray] = {fork.name: np.zeros(()) for fork in subject.forks}
    for batch in subject.batches(options.batches):
        counted = of_batch(subject.variables, batch, offsets)
        for name, counts in counted.items():
            totals[name] = totals[name] + np.asarray(counts, np.int64)
    records = []
    for depth, fork in enumerate(subject.forks):
        for path, counts in zip(fork.paths, totals[fork.name], strict=True):
            same = {"depth": depth, "fork": fork.name, "path": path, **census(counts)}
            histogram = exponents(counts) or {0: 0}
            records += [
                same | {"exponent": exponent, "count": count}
                for exponent, count in histogram.items()
            ]
    return rows_from(records, COLUMNS)


def exponents(counts: np.ndarray) -> dict[int, int]:
    """Exponent -> entries, of the finite ones that are not 0; from `[CELLS]`."""
    finite = counts[:NONFINITE]
    return {int(cell) - BIAS: int(finite[cell]) for cell in np.flatnonzero(finite)}


def census(counts: np.ndarray) -> Mapping[str, float]:
    """The columns `numel` to `headroom_log2` from `exponent_counts`, `[CELLS]`."""
    histogram = exponents(counts)
    present = sum(histogram.values())

    def share_below(exponent: int) -> float:
        below = sum(n for e, n in histogram.items() if e < exponent)
        return below / present if present else 0.0

    scale = 0
    while share_below(SMALLEST - scale) > 1 - KEPT:
        scale += 1
    numel = int(counts.sum())
    return {
        "numel": numel,
        "zero": counts[ZERO] / numel,
        "below_fp16": share_below(SMALLEST),
        "subnormal_fp16": share_below(SMALLEST_NORMAL),
        "below_bf16": counts[SUBNORMAL] / present if present else 0.0,
        "nonfinite": int(counts[NONFINITE]),
        "scale_log2": scale,
        "headroom_log2": _LARGEST - max(histogram, default=0),
    }


def paths_of(table: pd.DataFrame) -> pd.DataFrame:
    """One row per fork and path."""
    return table.drop_duplicates(["fork", "path"])


def draw(table: pd.DataFrame, figure: Figure) -> None:
    """Histogram of log2 |g| per path, shallow to deep, with the limits of float16."""
    axes = figure.subplots()
    rows = paths_of(table)
    names = _names(rows)
    present = where(table, column(table, "count") > 0)
    if not len(present):
        axes.set_title("every cotangent is 0")
        return
    exponent = column(present, "exponent")
    low, high = exponent.min(), exponent.max()
    places = {name: place for place, name in enumerate(names)}
    lines = [places[name] for name in _names(present)]
    picture = np.full((len(names), high - low + 1), np.nan)
    share = column(present, "count") / column(present, "numel")
    picture[lines, exponent - low] = share
    image = axes.imshow(
        picture,
        aspect="auto",
        cmap="Blues",
        interpolation="nearest",
        extent=(low, high + 1, len(names) - 0.5, -0.5),
    )
    figure.colorbar(image, label="share of the entries of the path")
    limits = {SMALLEST: "fp16: zero below", SMALLEST_NORMAL: "fp16: subnormal below"}
    for (limit, text), style in zip(limits.items(), ("-", "--"), strict=True):
        axes.axvline(limit, color="tab:orange", linestyle=style, label=text)
    axes.set_xlim(min(low, SMALLEST) - 1, max(high + 1, SMALLEST_NORMAL) + 1)
    axes.set_xlabel("log₂ |cotangent|, at the scale of the loss")
    step = -(-len(names) // _LABELS)
    axes.set_yticks(range(0, len(names), step), names[::step], fontsize="x-small")
    axes.set_ylabel("path, shallow to deep")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, 1.09), ncols=2, frameon=False)


def conclude(table: pd.DataFrame) -> list[str]:
    """What is lost without, and which loss scale saves it."""
    rows = paths_of(table)
    below = column(rows, "below_fp16")
    worst = below.argmax()
    scale, room = column(rows, "scale_log2").max(), column(rows, "headroom_log2").min()
    nonfinite = column(rows, "nonfinite").sum()
    sentences = [
        f"float16 would lose {below[worst]:.2%} of {_names(rows)[worst]}, the path "
        "that loses most; bfloat16 at most "
        f"{column(rows, 'below_bf16').max():.2%} of a path"
    ]
    if nonfinite:
        sentences.append(f"{nonfinite} entries are not finite")
    if scale > room:
        sentences.append(
            f"no loss scale serves every path: {KEPT:.1%} are kept from 2^{scale} on, "
            f"and beyond 2^{room} something overflows"
        )
    else:
        sentences.append(
            f"loss scales from 2^{scale} to 2^{room} keep {KEPT:.1%} of every path"
        )
    return sentences


def _names(table: pd.DataFrame) -> list[str]:
    return [
        f"{fork} {path}"
        for fork, path in zip(table["fork"], table["path"], strict=True)
    ]


PROBE = Probe(
    "what half precision would lose of the gradient (M23)",
    COLUMNS,
    (
        "fork",
        "path",
        "zero",
        "below_fp16",
        "subnormal_fp16",
        "below_bf16",
        "scale_log2",
        "headroom_log2",
    ),
    measure,
    draw,
    conclude,
    short=paths_of,
)
