"""Which rows of a gradient log a user asked for."""

import fnmatch
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from resseg.errors import UserError, choose, nearest
from resseg.gradient_log.summary import column, last_steps, where
from resseg.runs.reader import Run, open_run

_LAST_STEP = 2**63 - 1  # that a log can hold


class Wanted(NamedTuple):
    """What of a log is to be looked at.

    Attributes:
        fork: part of a name, or a pattern such as `*/block1`; "" = all.
        path: a path's name; "" = all.
        steps: `100:200`, `100:`, `:50`, `1,50,300` or one step; "" = all.
        last: without `steps`: the means are of so many logged steps at the end.
    """

    fork: str = ""
    path: str = ""
    steps: str = ""
    last: int = 50


class Selected(NamedTuple):
    """A run and the rows of its log.

    Attributes:
        run: the run folder.
        rows: of the chosen forks, paths and steps.
        recent: of these, the ones that means are taken over.
        listed: the steps that were asked for one by one, or ().
    """

    run: Run
    rows: pd.DataFrame
    recent: pd.DataFrame
    listed: tuple[int, ...]


def select(path: str | Path, wanted: Wanted, columns: list[str] | None) -> Selected:
    """Reads a run's log and takes the wanted rows.

    Args:
        path: run folder.
        wanted: what to take.
        columns: to read; None = all.

    Raises:
        UserError: it is no run or has no gradient rows; `wanted` names what it has not.
    """
    run = open_run(path)
    rows = run.read_gradients(columns)
    if rows.empty:
        config: Any = run.config
        if config.log.gradients.every:
            raise UserError(
                f"{run.path} holds no gradient rows yet: they are written with each "
                "checkpoint and when training ends"
            )
        raise UserError(
            f"{run.path} holds no gradient rows: train with log.gradients.every > 0"
        )
    if wanted.fork:
        rows = _of_forks(rows, wanted.fork)
    if wanted.path:
        paths = column(rows, "path")
        choose("--path", wanted.path, dict.fromkeys(paths))
        rows = where(rows, paths == wanted.path)
    if not wanted.steps:
        return Selected(run, rows, last_steps(rows, wanted.last), ())
    listed, keep = _parse_steps(wanted.steps)
    steps = column(rows, "step")
    for step in listed:
        if step not in steps:
            logged = np.unique(steps)
            near = logged[np.abs(logged - step).argmin()]
            raise UserError(
                f"--steps: step {step} of {run.path} was not logged; expected one of "
                f"{logged[0]} to {logged[-1]}, the nearest is {near}"
            )
    chosen = where(rows, keep(steps))
    if chosen.empty:
        raise UserError(
            f"--steps {wanted.steps}: {run.path} has no logged step there, expected "
            f"some of {steps.min()} to {steps.max()}"
        )
    # A list picks single steps out of curves that stay whole.
    return Selected(run, rows if listed else chosen, chosen, listed)


def _of_forks(rows: pd.DataFrame, pattern: str) -> pd.DataFrame:
    forks = column(rows, "fork")
    known = list(dict.fromkeys(forks))
    plain = not any(mark in pattern for mark in "*?[")
    chosen = fnmatch.filter(known, f"*{pattern}*" if plain else pattern)
    if not chosen:
        raise UserError(
            f"--fork {pattern!r}: none of the {len(known)} forks, such as {known[0]}"
            f"{nearest(pattern, known)}"
        )
    return where(rows, np.isin(forks.astype(str), chosen))


def _parse_steps(
    text: str,
) -> tuple[tuple[int, ...], Callable[[np.ndarray], np.ndarray]]:
    """Single steps, and the mask of the chosen ones."""
    try:
        if ":" in text:
            first, last = (int(part) if part else None for part in text.split(":"))
            low = -np.inf if first is None else first
            high = np.inf if last is None else last
            return (), lambda steps: (steps >= low) & (steps <= high)
        listed = tuple(sorted({int(part) for part in text.split(",")}))
        if max(map(abs, listed)) > _LAST_STEP:
            raise ValueError
        return listed, lambda steps: np.isin(steps, listed)
    except ValueError:
        raise UserError(
            f"--steps {text!r}: expected FIRST:LAST, or steps such as 1,50,300"
        ) from None
