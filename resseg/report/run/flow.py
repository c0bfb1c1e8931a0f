"""The gradient log as a page needs it: few enough steps, arrays by fork."""

from collections.abc import Sequence
from typing import Any, NamedTuple
from urllib.parse import quote

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from resseg.gradient_log.summary import USED, column, geometric_mean, where
from resseg.gradient_log.timeline import Timeline, first_events, timelines
from resseg.runs.reader import Run

MOST_STEPS = (
    300  # logged steps on a page at most, besides those where something happens
)
_TROUBLED = 40  # of the steps that are not finite, so many are kept at most
RECENT = 50  # logged steps at the end that means are taken over


class Flow(NamedTuple):
    """A gradient log.

    Attributes:
        lines: the forks in depth order, over all logged steps.
        cosine, nonfinite: `[forks, steps]`, in the same order; cosines are NaN where a
            fork has not just two paths.
        kept: places of the steps that the page shows.
        loss_pixels: `[steps]`, the denominator of the loss.
    """

    lines: list[Timeline]
    cosine: np.ndarray
    nonfinite: np.ndarray
    kept: np.ndarray
    loss_pixels: np.ndarray

    @property
    def steps(self) -> np.ndarray:
        """All logged steps."""
        return self.lines[0].steps

    def fork(self, name: str) -> int:
        """The place of a fork."""
        return [line.name for line in self.lines].index(name)


def read_flow(run: Run) -> Flow | None:
    """The log of a run; None where it has no rows."""
    rows = run.read_gradients(list(USED))
    return None if rows.empty else make_flow(rows)


def make_flow(rows: pd.DataFrame) -> Flow:
    """The log from its rows, at least one."""
    lines = timelines(rows)
    depths = column(rows, "depth")
    cosine, nonfinite, pixels = [], [], []
    for line in lines:
        mine = where(rows, depths == line.depth)
        one = where(mine, column(mine, "path") == line.paths[0])
        cosine.append(column(one, "cosine"))
        count = np.bincount(
            np.searchsorted(line.steps, column(mine, "step")),
            column(mine, "nonfinite"),
            minlength=len(line.steps),
        )
        nonfinite.append(count.astype(np.int64))
        pixels.append(column(one, "loss_pixels"))
    troubled = np.flatnonzero(np.stack(nonfinite).any(axis=0))
    events = [event.step for event in first_events(lines)]
    marked = np.flatnonzero(np.isin(lines[0].steps, events))
    kept = np.concatenate([marked, troubled[:_TROUBLED]])
    return Flow(
        lines,
        np.stack(cosine),
        np.stack(nonfinite),
        choose_steps(len(lines[0].steps), kept),
        pixels[-1],
    )


def choose_steps(count: int, marked: ArrayLike = ()) -> np.ndarray:
    """Places of at most 300 of `count` steps, first and last in, and those marked."""
    even = np.linspace(0, count - 1, min(MOST_STEPS, count)).round().astype(int)
    return np.unique(np.concatenate([even, np.asarray(marked, int)]))


def stage_of(name: str) -> str:
    """The module that a block stands in: backbone/stage2/block1 -> stage2."""
    parts = name.split("/")
    return parts[-2] if len(parts) > 1 else ""


def labels(names: Sequence[str]) -> list[str]:
    """Names without the `backbone/` that forks have in front."""
    short = [name.removeprefix("backbone/") for name in names]
    return short if len(set(short)) == len(short) else list(names)


def fork_hash(name: str, path: str = "", step: int = 0) -> str:
    """The address, within a page, that chooses a fork, perhaps a path and a step."""
    chosen = f"#fork={quote(name, safe='')}"
    if path:
        chosen += f"&path={quote(path, safe='')}"
    return f"{chosen}&step={step}" if step else chosen


def recent_share(line: Timeline, path: int = 0) -> float:
    """Mean share of a path over the last logged steps; NaN where none is defined."""
    values = line.share[path][-RECENT:]
    values = values[np.isfinite(values)]
    return float(values.mean()) if values.size else float("nan")


def recent_site(values: np.ndarray) -> float:
    """Geometric mean of a site norm over the last logged steps."""
    return geometric_mean(values[-RECENT:])


def for_scripts(flow: Flow) -> dict[str, Any]:
    """What the scripts draw from; the steps that are kept alone."""
    names = labels([line.name for line in flow.lines])
    at = flow.kept
    return {
        "steps": flow.steps[at],
        "logged": len(flow.steps),
        "forks": [
            {
                "name": line.name,
                "label": names[place],
                "kind": line.kind,
                "depth": line.depth,
                "paths": line.paths,
                "total": line.total[at],
                "site": line.site[:, at],
                "share": line.share[:, at],
                "cosine": flow.cosine[place][at],
                "nonfinite": flow.nonfinite[place][at],
            }
            for place, line in enumerate(flow.lines)
        ],
    }
