"""Each fork over the logged steps, and what goes wrong along the way."""

import enum
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from resseg.gradient_log.summary import by_fork, column, geometric_mean

# A block vanishes (explodes) where its site norm is this far below (above) that of the
# last block of the same step: the profile ratio |g_l| / |g_L| of a healthy network
# stays within a few powers of ten at any depth.
FAR = 1e3


class Timeline(NamedTuple):
    """One fork.

    Attributes:
        depth, name, kind, paths: of the fork.
        steps: `[steps]`, ascending.
        total: `[steps]`, site norm of the sum of the paths.
        site, share: `[paths, steps]`.
    """

    depth: int
    name: str
    kind: str
    paths: tuple[str, ...]
    steps: np.ndarray
    total: np.ndarray
    site: np.ndarray
    share: np.ndarray


class Trouble(enum.StrEnum):
    """What a block should not do."""

    VANISHES = "vanishes"
    EXPLODES = "explodes"
    NOT_FINITE = "is not finite"


class Event(NamedTuple):
    """The first time that a block does what it should not.

    Attributes:
        what: it does.
        fork: the block; of several at the same step the one where the backward pass,
            which starts at the deepest, meets it first.
        step: when.
        ratio: its site norm over that of the last block; NaN if that is none.
        steps: in how many logged steps any block does.
        blocks: how many blocks ever do.
    """

    what: Trouble
    fork: str
    step: int
    ratio: float
    steps: int
    blocks: int

    def __str__(self) -> str:
        return f"{self.fork}{self.deed}"

    @property
    def deed(self) -> str:
        """The sentence, but for the name of the fork in front."""
        many = f"{self.steps} logged step{'s' if self.steps > 1 else ''}"
        known = math.isfinite(self.ratio)
        size = f" with {self.ratio:.1e} of the last block's norm" if known else ""
        others = f", {self.blocks} blocks in all" if self.blocks > 1 else ""
        return f" {self.what} at step {self.step}{size} ({many}{others})."


def timelines(gradients: pd.DataFrame) -> list[Timeline]:
    """The forks in depth order."""
    return [
        Timeline(
            depth=fork.depth,
            name=fork.name,
            kind=fork.kind,
            paths=tuple(fork.paths),
            steps=column(fork.first, "step"),
            total=fork.total_site,
            site=np.stack([column(rows, "site") for rows in fork.paths.values()]),
            share=np.stack([column(rows, "share") for rows in fork.paths.values()]),
        )
        for fork in by_fork(gradients)
    ]


def slope_per_block(lines: Sequence[Timeline]) -> float:
    """Least-squares slope of log10 site norm over the blocks, first to last.

    Of the geometric means over the steps; positive: the last blocks receive more. NaN
    with fewer than two blocks that receive a finite gradient.
    """
    means = np.array([geometric_mean(line.total) for line in _blocks(lines)])
    good = np.flatnonzero(np.isfinite(means) & (means > 0))
    if good.size < 2:
        return float("nan")
    return float(np.polyfit(good, np.log10(means[good]), 1)[0])


def share_by_stage(lines: Sequence[Timeline]) -> dict[str, np.ndarray]:
    """The mean share of the shortcut over the blocks of each stage, `[steps]`."""
    stages: dict[str, list[np.ndarray]] = {}
    for line in _blocks(lines):
        if "shortcut" in line.paths:
            stage = line.name.rpartition("/")[0] or line.name
            stages.setdefault(stage, []).append(
                line.share[line.paths.index("shortcut")]
            )
    return {stage: _mean(np.stack(shares)) for stage, shares in stages.items()}


def first_events(lines: Sequence[Timeline]) -> list[Event]:
    """The first block that vanishes, that explodes, and that is not finite."""
    blocks = _blocks(lines)
    if not blocks:
        return []
    totals = np.stack([block.total for block in blocks])
    finite = np.where(np.isfinite(totals), totals, 0.0)
    last = np.where(finite[-1] > 0, finite[-1], finite.max(axis=0))
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(last > 0, np.divide(totals, last), 1.0)
    states = {
        Trouble.VANISHES: ratio * FAR < 1,
        Trouble.EXPLODES: np.isfinite(ratio) & (ratio > FAR),
        Trouble.NOT_FINITE: ~np.isfinite(totals),
    }
    events = []
    for what, state in states.items():
        when = np.flatnonzero(state.any(axis=0))
        if when.size:
            block = np.flatnonzero(state[:, when[0]])[-1]
            events.append(
                Event(
                    what,
                    blocks[block].name,
                    int(blocks[block].steps[when[0]]),
                    float(ratio[block, when[0]]),
                    when.size,
                    int(state.any(axis=1).sum()),
                )
            )
    return events


def _blocks(lines: Sequence[Timeline]) -> list[Timeline]:
    return [line for line in lines if line.kind == "block"]


def _mean(values: np.ndarray) -> np.ndarray:
    """Over the first axis, of what is finite; NaN where nothing is."""
    finite = np.isfinite(values)
    with np.errstate(invalid="ignore"):
        return np.where(finite, values, 0).sum(axis=0) / finite.sum(axis=0)
