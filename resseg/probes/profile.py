"""The gradient at every fork, averaged over batches, and taken apart by pixel (M1, M2,
M7, M22).

With `--by class` or `--by boundary` the gradient that the loss sends into the scores is
cut to the pixels of one class, or of the band along label boundaries, and sent back
alone. The parts add up to the whole gradient for every loss, Dice included; for one
that is a sum over pixels the part is the gradient of the loss of those pixels.
"""

import dataclasses
from collections.abc import Mapping

import jax
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from scipy import ndimage

from resseg.console import counting
from resseg.data import VOID
from resseg.gradient_log.summary import column, where
from resseg.gradients.analysis.rows import ROWS, with_rows, zero_sinks
from resseg.gradients.fork import scale_cotangent
from resseg.gradients.measure import by_taps
from resseg.probes.probe import (
    Options,
    Probe,
    Rows,
    require_linear_backward,
    rows_from,
    slope,
)
from resseg.probes.subject import Subject
from resseg.runs import gradients_table
from resseg.runs.tables import Column

ALL = "all"

COLUMNS = (
    Column("pixels", "str", "", "whose loss: all, a class, boundary or interior"),
    *(
        column
        for column in gradients_table.COLUMNS
        if column.name
        in ("depth", "fork", "kind", "path", "l2", "rms", "site", "share", "cosine")
        or column.name in ("total_l2", "nonfinite", "numel", "loss_pixels")
    ),
    Column(
        "part", "float64", "1", "<g_pixels, g> / |g|^2 at the fork; sums to 1 over sets"
    ),
    Column("ratio", "float64", "1", "blocks: total_l2 over that of the deepest block"),
    Column(
        "preservation", "float64", "1", "blocks: total_l2 over that of the next block"
    ),
)
_STYLES = (("-", "o"), ("--", "s"), (":", "^"), ("-.", "D"))
_SHOWN_SETS = 8  # lines in one panel


def measure(subject: Subject, options: Options) -> Rows:
    """Root mean squares over `options.batches` training batches; norms use batch
    statistics. Cosines are of the summed inner products.

    Raises:
        UserError: the gradient is to be taken apart, and the backward pass not linear.
    """
    if options.by:
        require_linear_backward(subject, "profile --by")
    names = [fork.name for fork in subject.forks]
    taps = subject.blueprint.zero_taps()

    @jax.jit
    def of_sets(variables, batch, masks):
        def gradient(mask):
            def loss(sinks, measuring):
                chosen = dataclasses.replace(
                    subject,
                    loss=lambda scores, labels: subject.loss(
                        scale_cotangent(scores, mask), labels
                    ),
                )
                collections = {**variables, **measuring}
                value = with_rows(
                    chosen.total_loss, sinks, (), 0, collections, batch, train=True
                )
                return value, None

            _, compared, measured = by_taps(loss, zero_sinks(names), taps)
            return measured, compared

        return jax.vmap(gradient, axis_name=ROWS)(masks)

    sets = pixel_sets(subject.spec.classes, options.by, subject.config.eval.boundary)
    totals: dict[str, dict[str, np.ndarray]] = {}
    loss_pixels = 0.0
    with counting("profile", options.batches * len(sets)) as done:
        for batch in subject.batches(options.batches):
            label = np.asarray(batch["label"])
            loss_pixels += float((label != VOID).sum()) / options.batches
            everything = np.ones((*label.shape, 1), np.float32)
            for name, chosen in sets.items():
                mask = chosen(label)[..., None].astype(np.float32)
                # The last row is what the others are compared with.
                masks = np.stack([mask, everything] if options.by else [mask])
                measured, compared = jax.device_get(
                    of_sets(subject.variables, batch, masks)
                )
                _add(totals.setdefault(name, {}), measured, compared)
                done(1)
    records = [
        record
        for name, statistics in totals.items()
        for record in _records(subject, name, statistics, options.batches, loss_pixels)
    ]
    return rows_from(records, COLUMNS)


def _add(totals: dict, measured: Mapping, compared: Mapping) -> None:
    """Sums per fork, float64: what the taps measured, and the projection on the whole
    gradient times its square.
    """
    for fork, rows in measured.items():
        first = jax.tree.map(lambda row: np.asarray(row[0], np.float64), rows)
        whole = float(compared[fork].norm[-1]) ** 2
        inner = np.array([compared[fork].projection[0] * whole, whole], np.float64)
        if fork in totals:
            first, inner = jax.tree.map(np.add, totals[fork], (first, inner))
        totals[fork] = first, inner


def _records(
    subject: Subject, name: str, totals: dict, batches: int, loss_pixels: float
) -> list[dict]:
    statistics = {fork: taps.per_batch(batches) for fork, (taps, _) in totals.items()}
    table = pd.DataFrame(
        gradients_table.rows(0, subject.forks, statistics, loss_pixels)
    )
    blocks = where(table, column(table, "kind") == "block").drop_duplicates("fork")
    names, norms = column(blocks, "fork"), column(blocks, "total_l2")
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = dict(zip(names, norms / norms[-1], strict=True))
        preservation = dict(zip(names, norms[:-1] / norms[1:], strict=False))
        part = {fork: inner / whole for fork, (_, (inner, whole)) in totals.items()}
    return [
        {
            **row,
            "pixels": name,
            "part": part[row["fork"]],
            "ratio": ratio.get(row["fork"], np.nan),
            "preservation": preservation.get(row["fork"], np.nan),
        }
        for row in table.to_dict("records")
    ]


def pixel_sets(classes: tuple[str, ...], by: str, fraction: float) -> dict:
    """Name -> function of labels `[batch, h, w]` that gives a mask of that shape.

    Args:
        by: "" | class | boundary.
        fraction: width of the band as a share of the image diagonal, on each side.
    """
    sets = {ALL: lambda label: np.ones(label.shape, bool)}
    if by == "class":
        for index, name in enumerate(classes):
            sets[name] = lambda label, index=index: label == index
    if by == "boundary":
        sets["boundary"] = lambda label: near_boundary(label, fraction)
        sets["interior"] = lambda label: ~near_boundary(label, fraction)
    return sets


def near_boundary(label: np.ndarray, fraction: float) -> np.ndarray:
    """Pixels of `[batch, h, w]` with another class in the square around them.

    The square reaches `fraction` of the image diagonal to each side, one pixel at
    least. Void is no class and makes no boundary.
    """
    width = max(1, round(fraction * float(np.hypot(*label.shape[1:]))))
    size = (1, 2 * width + 1, 2 * width + 1)
    label = np.asarray(label, np.int32)
    largest = ndimage.maximum_filter(np.where(label == VOID, -1, label), size)
    smallest = ndimage.minimum_filter(label, size)
    return (label != VOID) & (largest != smallest)


def at_blocks(table: pd.DataFrame, pixels: str) -> pd.DataFrame:
    """The rows of one set of pixels at the forks of blocks."""
    chosen = column(table, "kind") == "block"
    return where(table, chosen & (column(table, "pixels") == pixels))


def draw(table: pd.DataFrame, figure: Figure) -> None:
    """Norms of the paths over depth; and their share, or the parts by pixel."""
    left, right = figure.subplots(1, 2)
    whole = at_blocks(table, ALL)
    once = whole.drop_duplicates("fork")
    depth = {fork: place for place, fork in enumerate(column(once, "fork"))}
    sets = _largest(table)
    paths = dict.fromkeys(column(whole, "path"))
    for path, (style, marker) in zip(paths, _STYLES, strict=False):
        rows = where(whole, column(whole, "path") == path)
        place = [depth[fork] for fork in column(rows, "fork")]
        left.plot(place, rows["site"], style, marker=marker, label=path)
        if not sets:
            right.plot(place, rows["share"], style, marker=marker, label=path)
    total = once["total_l2"] / np.sqrt(once["numel"]) * once["loss_pixels"]
    style, marker = _STYLES[-1]
    left.plot(range(len(once)), total, style, marker=marker, label="sum")
    left.set_yscale("log")
    left.set_ylabel("site norm: rms × loss pixels, loss / activation")
    right.set_ylabel("share of |g|²")
    for i, name in enumerate(sets):
        rows = at_blocks(table, name).drop_duplicates("fork")
        style, marker = _STYLES[i % len(_STYLES)]
        right.plot(range(len(rows)), rows["part"], style, marker=marker, label=name)
        right.set_ylabel("part of the gradient, ⟨g_S, g⟩ / |g|²")
    for axes in (left, right):
        axes.set_xlabel("block, shallow to deep")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.legend(fontsize="small")


def _largest(table: pd.DataFrame) -> list[str]:
    """Sets of pixels other than all, those with the largest parts first."""
    names = dict.fromkeys(column(table, "pixels"))
    part = {
        name: np.abs(column(at_blocks(table, name), "part")).mean() for name in names
    }
    return sorted(set(names) - {ALL}, key=lambda name: -part[name])[:_SHOWN_SETS]


def conclude(table: pd.DataFrame) -> list[str]:
    """The slope over depth, and which pixels the gradient comes from."""
    whole = at_blocks(table, ALL).drop_duplicates("fork")
    with np.errstate(divide="ignore"):
        rate = slope(np.arange(len(whole)), np.log(column(whole, "ratio")))
    first = whole.iloc[0]
    sentences = [
        f"the gradient changes by a factor of {np.exp(-rate):.3g} per block on its way "
        f"back; at {first['fork']} it is {first['ratio']:.3g} of the deepest block's"
    ]
    for name in _largest(table):
        part = at_blocks(table, name).iloc[0]["part"]
        sentences.append(f"{name}: {part:.1%} of the gradient at {first['fork']}")
    return sentences


def in_short(table: pd.DataFrame) -> pd.DataFrame:
    """All rows of the whole gradient; of its parts those at the first block.

    Without parts there is nothing to say of pixels.
    """
    whole = column(table, "pixels") == ALL
    if whole.all():
        return table.drop(columns=["pixels", "part"])
    fork = at_blocks(table, ALL).iloc[0]["fork"]
    return where(table, whole | (column(table, "fork") == fork))


PROBE = Probe(
    "gradient of every path at every fork; --by class or boundary (M1, M2, M7, M22)",
    COLUMNS,
    (
        "pixels",
        "fork",
        "path",
        "site",
        "share",
        "cosine",
        "ratio",
        "preservation",
        "part",
    ),
    measure,
    draw,
    conclude,
    short=in_short,
)
