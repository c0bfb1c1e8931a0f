"""The routes by which the gradient comes back to the blocks of the backbone.

A route leaves the backbone at its end (`deepest`), or at a long skip or an auxiliary
head; factors of 0 on what goes elsewhere leave it alone, and the routes add up to the
whole gradient.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from resseg.gradients.fork import ForkInfo
from resseg.gradients.names import AUX, SHORTCUT, SKIP

ALL, DEEPEST = "all", "deepest"
_BACKBONE = "backbone/"
_OUTWARD = {"long_skip": SKIP, "auxiliary": AUX}

Factors = dict[tuple[str, str], float]


class RouteBlock(NamedTuple):
    """A block on a route.

    Attributes:
        fork: its name.
        blocks: of the backbone on the route, from this one on.
        forced: those of them without shortcut; every path takes their branch.
    """

    fork: str
    blocks: int
    forced: int

    def paths(self, length: int) -> int:
        """Number of paths of the route that take so many branches."""
        free, chosen = self.blocks - self.forced, length - self.forced
        return math.comb(free, chosen) if chosen >= 0 else 0


def backbone_blocks(forks: Sequence[ForkInfo]) -> list[ForkInfo]:
    """Forks of the blocks of the backbone, in depth order."""
    return [
        fork
        for fork in forks
        if fork.kind == "block" and fork.name.startswith(_BACKBONE)
    ]


def route_factors(forks: Sequence[ForkInfo]) -> dict[str, Factors]:
    """Route -> backward factors that leave it alone; `all` first, then deep to shallow.

    Without a fork at which anything leaves there is only `all`. The keys are the same
    for every route, so one compiled program serves them.
    """
    leaving = _leaving(forks)
    everything = {(fork.name, path): 1.0 for fork in leaving for path in fork.paths}
    routes = {ALL: everything}
    if not leaving:
        return routes
    cut = {(fork.name, _OUTWARD[fork.kind]): 0.0 for fork in leaving}
    routes[DEEPEST] = everything | cut
    for fork in reversed(leaving):
        outward = _OUTWARD[fork.kind]
        alone = {(fork.name, path): float(path == outward) for path in fork.paths}
        routes[fork.name.removeprefix(_BACKBONE)] = routes[DEEPEST] | alone
    return routes


def blocks_on(forks: Sequence[ForkInfo], route: str) -> list[RouteBlock]:
    """The blocks that the route passes, in depth order; for `all` every one."""
    names = [fork.name for fork in forks]
    end = names.index(_BACKBONE + route) if _BACKBONE + route in names else len(names)
    passed = backbone_blocks(forks[:end])
    return [
        RouteBlock(
            fork.name,
            len(passed) - place,
            sum(SHORTCUT not in later.paths for later in passed[place:]),
        )
        for place, fork in enumerate(passed)
    ]


def draw_paths(
    forks: Sequence[ForkInfo], length: int, count: int, rng: np.random.Generator
) -> dict[tuple[str, str], np.ndarray]:
    """Factors `[count]` of random single paths of the deepest route, all of a length.

    Raises:
        ValueError: no path has that length.
    """
    blocks = backbone_blocks(forks)
    forced = np.array([SHORTCUT not in fork.paths for fork in blocks])
    free = np.flatnonzero(~forced)
    chosen = length - forced.sum()
    if not 0 <= chosen <= len(free):
        raise ValueError(f"no path takes {length} branches of {len(blocks)} blocks")
    taken = np.tile(forced.astype(np.float32), (count, 1))
    for row in taken:
        row[rng.choice(free, chosen, replace=False)] = 1.0
    routes = route_factors(forks)
    factors = {
        key: np.full(count, value, np.float32)
        for key, value in routes.get(DEEPEST, routes[ALL]).items()
    }
    for fork, branch in zip(blocks, taken.T, strict=True):
        for path in fork.paths:
            factors[fork.name, path] = 1 - branch if path == SHORTCUT else branch
    return factors


def _leaving(forks: Sequence[ForkInfo]) -> list[ForkInfo]:
    return [
        fork
        for fork in forks
        if fork.kind in _OUTWARD and fork.name.startswith(_BACKBONE)
    ]
