"""What a gradient log says about each fork, for tables, pictures and sentences."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

KINDS = {
    "block": "Residual blocks",
    "long_skip": "Long skips",
    "pyramid": "Pyramid",
    "auxiliary": "Auxiliary heads",
    "first": "First features of a stage",
}
USED = (  # the columns of the log that the report reads
    *("step", "depth", "fork", "kind", "path", "site", "share", "cosine"),
    *("total_l2", "nonfinite", "numel", "loss_pixels"),
)


class PathSummary(NamedTuple):
    """One path of a fork over some steps.

    Attributes:
        path: its name.
        site: geometric mean of the site norm, see `geometric_mean`.
        share: mean, where it is defined.
        nonfinite: non-finite entries in all steps.
        steps: how many there are.
        dead_steps: in how many the gradient was exactly 0.
        nonfinite_steps: in how many its norm was not finite.
    """

    path: str
    site: float
    share: float
    nonfinite: int
    steps: int
    dead_steps: int
    nonfinite_steps: int

    @property
    def dead(self) -> bool:
        return self.dead_steps == self.steps

    @property
    def trouble(self) -> str:
        """What is wrong with the path, in words; "" if nothing is."""
        if self.nonfinite_steps == self.steps:
            return f"{self.path} not finite"
        if self.nonfinite_steps:
            count = f"{self.nonfinite_steps} of {self.steps}"
            return f"{self.path} not finite in {count} steps"
        if self.dead:
            return f"{self.path} dead"
        if self.dead_steps:
            return f"{self.path} 0 in {self.dead_steps} of {self.steps} steps"
        return ""


class ForkSummary(NamedTuple):
    """A fork over some steps; `total_site` is that of the sum of its paths."""

    depth: int
    name: str
    kind: str
    cosine: float
    total_site: float
    paths: tuple[PathSummary, ...]


class ForkRows(NamedTuple):
    """The rows of a fork in a log.

    Attributes:
        depth, name, kind: of the fork.
        paths: their rows by name, `[steps]` each.
        total_site: `[steps]`, site norm of the sum of the paths.
    """

    depth: int
    name: str
    kind: str
    paths: dict[str, pd.DataFrame]
    total_site: np.ndarray

    @property
    def first(self) -> pd.DataFrame:
        """The rows of the first path: what is of the fork stands in them too."""
        return next(iter(self.paths.values()))


def by_fork(gradients: pd.DataFrame) -> Iterator[ForkRows]:
    """The rows of a log, fork by fork in depth order."""
    depths = column(gradients, "depth")
    for depth in np.unique(depths):
        rows = where(gradients, depths == depth)
        names = column(rows, "path")
        paths = {name: where(rows, names == name) for name in dict.fromkeys(names)}
        one = next(iter(paths.values()))
        rms = column(one, "total_l2") / np.sqrt(column(one, "numel"))
        name, kind = column(one, "fork")[0], column(one, "kind")[0]
        total_site = rms * column(one, "loss_pixels")
        yield ForkRows(int(depth), name, kind, paths, total_site)


def summarise(gradients: pd.DataFrame) -> list[ForkSummary]:
    """The forks in depth order."""
    return [
        ForkSummary(
            depth=fork.depth,
            name=fork.name,
            kind=fork.kind,
            cosine=_mean(column(fork.first, "cosine")),
            total_site=geometric_mean(fork.total_site),
            paths=tuple(map(_summarise_path, fork.paths.values())),
        )
        for fork in by_fork(gradients)
    ]


def by_paths(
    forks: Sequence[ForkSummary],
) -> dict[tuple[str, ...], list[ForkSummary]]:
    """The forks by the names of their paths: those together can share columns."""
    groups: dict[tuple[str, ...], list[ForkSummary]] = {}
    for fork in forks:
        groups.setdefault(tuple(path.path for path in fork.paths), []).append(fork)
    return groups


def _summarise_path(rows: pd.DataFrame) -> PathSummary:
    site = column(rows, "site")
    return PathSummary(
        path=column(rows, "path")[0],
        site=geometric_mean(site),
        share=_mean(column(rows, "share")),
        nonfinite=int(column(rows, "nonfinite").sum()),
        steps=len(site),
        dead_steps=int((site == 0).sum()),
        nonfinite_steps=int((~np.isfinite(site)).sum()),
    )


def first_to_last(forks: Sequence[ForkSummary]) -> str | None:
    """How much gradient (site norm) the first residual block receives, in words."""
    blocks = [fork for fork in forks if fork.kind == "block"]
    if len(blocks) < 2:
        return None
    first, last = blocks[0], blocks[-1]
    if not last.total_site > 0:
        return (
            f"The last block, {last.name}, receives no finite gradient to compare with."
        )
    ratio = first.total_site / last.total_site
    amount = f"{ratio:.3g}x the gradient" if ratio >= 0 else "no finite gradient"
    return f"The first block, {first.name}, receives {amount} of the last, {last.name}."


def first_trouble(gradients: pd.DataFrame) -> str | None:
    """Where a non-finite gradient appeared first, in a sentence."""
    site, counts = column(gradients, "site"), column(gradients, "nonfinite")
    bad = where(gradients, (counts > 0) | ~np.isfinite(site))
    if bad.empty:
        return None
    steps = column(bad, "step")
    # Backward, the deepest fork comes first.
    origin = np.flatnonzero(steps == steps[0])[-1]
    fork, path = column(bad, "fork")[origin], column(bad, "path")[origin]
    count = len(np.unique(steps))
    return (
        f"Not finite in {count} logged step{'s' if count > 1 else ''}; first at step "
        f"{steps[0]}, deepest in {fork} ({path})."
    )


def last_steps(table: pd.DataFrame, count: int) -> pd.DataFrame:
    """The rows of the last `count` logged steps."""
    steps = column(table, "step")
    return where(table, steps >= np.unique(steps)[-count:][0])


def column(table: pd.DataFrame, name: str) -> np.ndarray:
    """One column as an array."""
    return np.asarray(table[name])


def where(table: pd.DataFrame, mask: np.ndarray) -> pd.DataFrame:
    """The rows where `mask` is true, in their order."""
    return table.take(np.flatnonzero(mask))


def geometric_mean(values: np.ndarray) -> float:
    """Over finite positive values; 0 where all finite ones are 0, NaN if none is."""
    finite = values[np.isfinite(values)]
    positive = finite[finite > 0]
    if positive.size:
        return float(np.exp(np.log(positive).mean()))
    return 0.0 if finite.size else float("nan")


def _mean(values: np.ndarray) -> float:
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if finite.size else float("nan")
