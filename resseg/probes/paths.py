"""How long the paths are that the gradient came by (M8, M9).

A path leads from the loss back to a block, through the branch or the shortcut of every
block of the backbone in between; its length is the number of branches, a gate being
part of the branch. With path
gradients g^(k), summed over all paths of length k, the gradient at a block is

    g = sum over k of g^(k)

and the blocks' rule is g^(k) <- alpha c P^T g^(k) + gamma J_h^T g^(k-1): all lengths
are sent back at once, as rows (`resseg.gradients.analysis.rows`). A projection counts
as the shortcut; stem and head, with all that the head holds, count for nothing.

Where long skips or an auxiliary head leave the backbone, the gradient comes back by
several routes (`resseg.probes.routes`), each of which is measured alone. A route
through n blocks has C(n, k) paths of length k (Veit 2016); single ones are drawn at the
first block, on the deepest route, by factors of 0 and 1 on every block.
"""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from resseg.console import counting
from resseg.gradient_log.summary import column, where
from resseg.gradients.analysis.factors import multiplied
from resseg.gradients.analysis.rows import ROWS, pulled_back, with_rows, zero_sinks
from resseg.probes.probe import (
    Options,
    Probe,
    Rows,
    require_linear_backward,
    rows_from,
)
from resseg.probes.routes import (
    ALL,
    DEEPEST,
    RouteBlock,
    backbone_blocks,
    blocks_on,
    draw_paths,
    route_factors,
)
from resseg.probes.subject import Subject
from resseg.runs.tables import Column

BEYOND = -1

COLUMNS = (
    Column("route", "str", "", "all, deepest, or the fork at which it leaves"),
    Column("depth", "int64", "blocks", "position of the block in depth order, 0 first"),
    Column("fork", "str", "", "block at whose input the gradient has arrived"),
    Column("blocks", "int64", "blocks", "of the backbone on the route, this one too"),
    Column("length", "int64", "branches", "k; -1 for all beyond the longest together"),
    Column("l2", "float64", "loss / activation", "norm of g^(k)"),
    Column("part", "float64", "1", "<g^(k), g> / |g|^2; sums to 1 over the lengths"),
    Column("paths", "float64", "paths", "of that length; NaN for the sum of routes"),
    Column("path_l2", "float64", "loss / activation", "l2 / paths"),
    Column(
        "sampled_l2",
        "float64",
        "loss / activation",
        "root mean square norm of single paths drawn at random; NaN where none were",
    ),
    Column("mean_length", "float64", "branches", "sum of k l2 over sum of l2, k <= K"),
    Column("total_l2", "float64", "loss / activation", "norm of the whole gradient"),
)
_STYLES = (("-", "o"), ("--", "s"), (":", "^"), ("-.", "D"), ("-", "v"), ("--", "P"))


def measure(subject: Subject, options: Options) -> Rows:
    """Root mean squares of norms, and means of parts, over `options.batches` batches.

    Norms use batch statistics, and the derivative of those statistics is part of J_h.

    Raises:
        UserError: the backward pass is not linear.
    """
    require_linear_backward(subject, "paths")
    blocks = backbone_blocks(subject.forks)
    longest = min(options.longest, len(blocks))
    names = [fork.name for fork in blocks]
    routes = route_factors(subject.forks)
    spectrum, norms = _programs(subject, names, longest)
    whole = blocks_on(subject.forks, DEEPEST)[0]
    lengths = [k for k in range(longest + 1) if whole.paths(k)]
    rng = np.random.default_rng(options.seed)
    totals = {route: dict.fromkeys(names, np.zeros(())) for route in routes}
    squares = dict.fromkeys(lengths, 0.0)
    work = options.batches * (len(routes) + len(lengths))
    with counting("paths", work) as done:
        for batch in subject.batches(options.batches):
            for route, factors in routes.items():
                spectra = jax.device_get(spectrum(subject.variables, batch, factors))
                for name, rows in spectra.items():
                    square = np.asarray(rows.norm, np.float64) ** 2
                    part = np.asarray(rows.projection, np.float64)
                    totals[route][name] = totals[route][name] + np.stack([square, part])
                done(1)
            for length in lengths:
                chosen = draw_paths(subject.forks, length, options.samples, rng)
                each = np.asarray(norms(subject.variables, batch, chosen), np.float64)
                squares[length] += float(np.mean(each**2)) / options.batches
                done(1)
    alone = DEEPEST if DEEPEST in routes else ALL
    records = []
    for route in routes:
        for depth, block in enumerate(blocks_on(subject.forks, route)):
            means = totals[route][block.fork] / options.batches
            singles = squares if depth == 0 and route == alone else {}
            counted = route != ALL or alone == ALL
            start = {"route": route, "depth": depth}
            for record in _records(block, means, longest, counted):
                single = np.sqrt(singles.get(record["length"], np.nan))
                records.append({**start, **record, "sampled_l2": single})
    return rows_from(records, COLUMNS)


def _programs(
    subject: Subject, names: list[str], longest: int
) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Compiled: the spectrum at every block, and norms of chosen paths at the first."""

    def loss_of(variables, batch, factors, counted):
        def loss(sinks):
            paths = multiplied(variables["paths"], factors)
            chosen = {**variables, "paths": paths}
            return with_rows(
                subject.total_loss, sinks, counted, longest, chosen, batch, train=True
            )

        return loss

    @jax.jit
    def spectrum(variables, batch, factors):
        loss = loss_of(variables, batch, factors, names)
        return pulled_back(loss, zero_sinks(names), longest)[1]

    @jax.jit
    def norms(variables, batch, factors):
        def single(factors):
            loss = loss_of(variables, batch, factors, ())
            return jax.grad(loss)(zero_sinks(names[:1]))[names[0]].norm

        return jax.vmap(single, axis_name=ROWS)(factors)

    return spectrum, norms


def _records(
    block: RouteBlock, means: np.ndarray, longest: int, counted: bool
) -> list[dict[str, Any]]:
    """One record per length; `means` `[2, longest + 3]`: squared norm and part."""
    squares, parts = means
    norms = np.sqrt(squares)
    reach = min(longest, block.blocks)
    lengths = np.arange(reach + 1)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean_length = np.sum(lengths * norms[: reach + 1]) / norms[: reach + 1].sum()
    places = {int(k): int(k) for k in lengths}
    if block.blocks > longest:
        places[BEYOND] = longest + 1
    records = []
    for length, place in places.items():
        paths = block.paths(length) if counted and length != BEYOND else np.nan
        records.append(
            {
                "fork": block.fork,
                "blocks": block.blocks,
                "length": length,
                "l2": norms[place],
                "part": parts[place],
                "paths": paths,
                "path_l2": norms[place] / paths if paths else np.nan,
                "mean_length": mean_length,
                "total_l2": norms[-1],
            }
        )
    return records


def at_first_block(table: pd.DataFrame) -> pd.DataFrame:
    """The rows at the first block, of all routes together and of the deepest."""
    routes = np.isin(column(table, "route"), [ALL, DEEPEST])
    return where(table, routes & (column(table, "depth") == 0))


def draw(table: pd.DataFrame, figure: Figure) -> None:
    """Norms by length at the first block, and the mean length over depth, by route."""
    left, right = figure.subplots(1, 2)
    known = where(table, column(table, "length") != BEYOND)
    routes = dict.fromkeys(column(known, "route"))
    for (style, marker), route in zip(_STYLES, routes, strict=False):
        rows = where(known, column(known, "route") == route)
        first = where(rows, column(rows, "depth") == 0)
        left.plot(first["length"], first["l2"], style, marker=marker, label=route)
        once = where(rows, column(rows, "length") == 0)
        right.plot(
            once["depth"], once["mean_length"], style, marker=marker, label=route
        )
    single = table[table["sampled_l2"].notna()]
    alone = left.plot(
        single["length"], single["sampled_l2"], "x", color="black", label="one path"
    )
    left.set_yscale("log")
    left.set_xlabel("length k: branches on the path")
    left.set_ylabel("norm of g⁽ᵏ⁾ at the first block, loss / activation")
    right.set_xlabel("block, shallow to deep")
    right.set_ylabel("mean length, branches")
    # One legend of the routes serves both; on the left it would hide points.
    left.legend(handles=alone, fontsize="small")
    right.legend(fontsize="small", title="route")
    for axes in (left, right):
        axes.xaxis.get_major_locator().set_params(integer=True)


def conclude(table: pd.DataFrame) -> list[str]:
    """The mean length at the first block, and how a single path shrinks with it."""
    first = at_first_block(table)
    sentences = []
    for route, rows in first.groupby("route", sort=False):
        row = rows.iloc[0]
        sentences.append(
            f"{route}: at {row['fork']} the mean path takes {row['mean_length']:.3g} "
            f"of {row['blocks']} branches"
        )
        for part in column(rows, "part")[column(rows, "length") == BEYOND]:
            sentences.append(f"{route}: {part:.1%} of the gradient came by longer ones")
    single = first[first["sampled_l2"] > 0]
    if len(single) > 1:
        rate = np.polyfit(single["length"], np.log(single["sampled_l2"]), 1)[0]
        sentences.append(
            f"a single path changes by a factor of {np.exp(rate):.3g} per branch"
        )
    return sentences


PROBE = Probe(
    "lengths of the paths that the gradient came by, exact and sampled (M8, M9)",
    COLUMNS,
    ("route", "fork", "length", "l2", "part", "paths", "path_l2", "sampled_l2"),
    measure,
    draw,
    conclude,
    short=at_first_block,
)
