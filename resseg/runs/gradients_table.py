"""The columns of the gradient log, and how they follow from what the taps measured.

Three norms of a cotangent g over the N entries of a fork's activation (whole batch):
`l2` = ||g||, `rms` = l2 / sqrt(N), `site` = rms x number of loss pixels. Under a loss
that is a mean over pixels `rms` shrinks as 1/pixels; only `site` can be compared
between resolutions and batch sizes.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from resseg.runs.tables import Column

# Step n is the nth update, in every row of training. An evaluation and a checkpoint of
# step n are of what n updates made, which row n + 1 is measured at.
STEP = Column(
    "step",
    "int64",
    "updates",
    "n: on the nth batch, at the weights that n - 1 updates made; it makes the nth",
)
COLUMNS = (
    STEP,
    Column("depth", "int64", "forks", "position of the fork in depth order, 0 first"),
    Column("fork", "str", "", "module path of the fork"),
    Column("kind", "str", "", "block, long_skip, pyramid or auxiliary"),
    Column(
        "path", "str", "", "shortcut, branch, skip, deeper, aux or a pyramid branch"
    ),
    Column("l2", "float64", "loss / activation", "norm of what the path sends back"),
    Column("rms", "float64", "loss / activation", "l2 / sqrt(numel)"),
    Column("site", "float64", "pixels x loss / activation", "rms x loss_pixels"),
    Column("share", "float64", "1", "l2^2 over the sum of l2^2 of the fork's paths"),
    Column(
        "cosine", "float64", "1", "of the angle between two paths; NaN unless just two"
    ),
    Column(
        "value_rms",
        "float64",
        "activation",
        "forward: rms of what the path of a block adds to the sum; NaN elsewhere",
    ),
    Column("value_cosine", "float64", "1", "of the angle between both addends; or NaN"),
    Column("total_l2", "float64", "loss / activation", "norm of the sum of the paths"),
    Column("nonfinite", "int64", "entries", "NaN and infinite entries of the path"),
    Column("numel", "int64", "entries", "size of the fork's activation, whole batch"),
    Column("loss_pixels", "float64", "pixels", "valid pixels: the loss's denominator"),
    Column(
        "loss_scale", "float64", "1", "factor on the loss, divided out of every norm"
    ),
    Column(
        "clip_factor", "float64", "1", "clipping of parameter gradients; not applied"
    ),
)

BLOCK_COLUMNS = (
    STEP,
    Column("block", "str", "", "module path whose parameters are taken together"),
    Column(
        "params_l2", "float64", "weight", "norm of the parameters before the update"
    ),
    Column("grad_l2", "float64", "loss / weight", "norm of their gradient"),
    Column("update_l2", "float64", "weight", "norm of the update that was applied"),
    Column("update_ratio", "float64", "1", "update_l2 / params_l2"),
)


class LoggedFork(Protocol):
    """What the log needs to know about a fork."""

    @property
    def name(self) -> str: ...

    @property
    def kind(self) -> str: ...

    @property
    def paths(self) -> Sequence[str]: ...

    @property
    def shape(self) -> Sequence[int]: ...


class ForkMeasured(Protocol):
    """What was measured at a fork: of its paths in their order, and of their sum."""

    @property
    def squares(self) -> Any: ...

    @property
    def nonfinite(self) -> Any: ...

    @property
    def total_square(self) -> Any: ...

    @property
    def inner(self) -> Any: ...


class JoinMeasured(Protocol):
    """Mean squares of what shortcut and branch add, and mean of their product."""

    @property
    def shortcut(self) -> Any: ...

    @property
    def branch(self) -> Any: ...

    @property
    def product(self) -> Any: ...


def rows(
    step: int,
    forks: Sequence[LoggedFork],
    statistics: Mapping[str, ForkMeasured],
    loss_pixels: float,
    loss_scale: float = 1.0,
    clip_factor: float = 1.0,
    joins: Mapping[str, JoinMeasured] | None = None,
) -> dict[str, list]:
    """The rows of one step, by column, in float64.

    Args:
        step: See `STEP`.
        forks: In depth order; `shape` is that of the activation, batch included.
        statistics: By fork name.
        loss_pixels: Valid pixels in the denominator of the loss.
        loss_scale: Factor on the loss that was differentiated.
        clip_factor: What clipping multiplied the parameter gradients by.
        joins: By name of a block's fork.

    NaN and infinity stay what they are. Shares and cosines are not clipped: a share
    outside [0, 1] or a cosine outside [-1, 1] is a rounding error worth seeing.
    """
    columns: dict[str, list] = {column.name: [] for column in COLUMNS}
    for depth, fork in enumerate(forks):
        measured = statistics[fork.name]
        squares = np.asarray(measured.squares, np.float64) / loss_scale**2
        count = len(fork.paths)
        if squares.shape != (count,):
            raise ValueError(
                f"statistics of fork {fork.name!r} are of {squares.size} paths, "
                f"expected {count}"
            )
        norms = np.sqrt(squares)
        total_l2 = math.sqrt(float(measured.total_square) / loss_scale**2)
        inner = float(measured.inner) / loss_scale**2
        numel = math.prod(fork.shape)
        with np.errstate(divide="ignore", invalid="ignore"):
            shares = squares / squares.sum()
        rms = norms / math.sqrt(numel)
        values = {
            "step": [int(step)] * count,
            "depth": [depth] * count,
            "fork": [fork.name] * count,
            "kind": [fork.kind] * count,
            "path": list(fork.paths),
            "l2": norms.tolist(),
            "rms": rms.tolist(),
            "site": (rms * float(loss_pixels)).tolist(),
            "share": shares.tolist(),
            "cosine": [cosine(squares, inner)] * count,
            **addends(fork, (joins or {}).get(fork.name)),
            "total_l2": [total_l2] * count,
            "nonfinite": np.asarray(measured.nonfinite, np.int64).tolist(),
            "numel": [numel] * count,
            "loss_pixels": [float(loss_pixels)] * count,
            "loss_scale": [float(loss_scale)] * count,
            "clip_factor": [float(clip_factor)] * count,
        }
        for name, column in columns.items():
            column.extend(values[name])
    return columns


def cosine(squares: np.ndarray, inner: float) -> float:
    """cos(a, b) from [|a|^2, |b|^2] and <a, b>; NaN if either is 0 or not just two."""
    if len(squares) != 2 or 0 in squares:
        return math.nan
    with np.errstate(invalid="ignore"):
        return float(inner / (np.sqrt(squares[0]) * np.sqrt(squares[1])))


def addends(fork: LoggedFork, moments: JoinMeasured | None) -> dict[str, list[float]]:
    """The columns on what a block adds; NaN for a fork that is no block's."""
    count = len(fork.paths)
    if moments is None:
        return {"value_rms": [math.nan] * count, "value_cosine": [math.nan] * count}
    squares = np.array([moments.shortcut, moments.branch], np.float64)
    shortcut, branch = np.sqrt(squares).tolist()
    # A gate scales the others and adds nothing.
    rms = {"shortcut": shortcut, "branch": branch, "gate": math.nan}
    return {
        "value_rms": [rms[path] for path in fork.paths],
        "value_cosine": [cosine(squares, float(moments.product))] * count,
    }


def block_rows(
    step: int,
    params: Mapping[str, np.ndarray | float],
    gradients: Mapping[str, np.ndarray | float],
    updates: Mapping[str, np.ndarray | float],
) -> dict[str, list]:
    """The rows of one step, by column, from sums of squares by block name.

    Args:
        step: See `STEP`.
        params: Of the parameters before the update; its order is that of the rows.
        gradients: Of the loss's gradient, before clipping.
        updates: Of what was added to the parameters.
    """
    blocks = list(params)
    squares = [
        [groups[block] for block in blocks] for groups in (params, gradients, updates)
    ]
    params_l2, grad_l2, update_l2 = np.sqrt(np.asarray(squares, np.float64))
    with np.errstate(divide="ignore", invalid="ignore"):
        update_ratio = update_l2 / params_l2
    return {
        "step": [int(step)] * len(blocks),
        "block": blocks,
        "params_l2": params_l2.tolist(),
        "grad_l2": grad_l2.tolist(),
        "update_l2": update_l2.tolist(),
        "update_ratio": update_ratio.tolist(),
    }
