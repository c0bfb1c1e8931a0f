"""The runs in a folder: how far each is, how good, and when it was last heard of."""

import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from resseg import runs
from resseg.config.keys import flatten
from resseg.errors import UserError
from resseg.runs import layout
from resseg.runs.ledger import read_ledger
from resseg.sweeps import attempts, plan
from resseg.sweeps.keys import pairs

STOPPED = "stopped"  # a run outside of sweeps that nobody trains, before its last step
DAMAGED = "damaged"
# Written by whoever trains the run; locks are touched by those who only look.
_WRITTEN = (
    layout.CONFIG,
    layout.METRICS,
    layout.TIMING,
    layout.STATUS,
    layout.LOG,
    layout.ENVIRONMENT,
)


class Listed(NamedTuple):
    """One run.

    Attributes:
        id: name of its folder.
        status: finished, running, waiting, failed, preempted or broken off; of a run
            outside of sweeps finished, running or stopped; damaged if its files are.
        step, steps: the last logged, and of how many; None where it is not known.
        best: best mean IoU of its evaluations so far; None before the first, and while
            none is a number.
        best_step: of that evaluation.
        age: seconds since it last wrote; None before it first does.
        overrides: what it changes in its study; outside of sweeps, in what it differs
            from the first run listed.
        message: why it failed.
        seconds: since its beginning, of which `spent` is known by name; None where the
            run kept no ledger.
        spent: seconds by name, see `resseg.runs.ledger`.
    """

    id: str
    status: str
    step: int | None
    steps: int | None
    best: float | None
    best_step: int | None
    age: float | None
    overrides: dict[str, Any]
    message: str
    seconds: float | None = None
    spent: dict[str, float] | None = None


def list_runs(folder: str | Path) -> list[Listed]:
    """The runs of a sweep folder, those of any folder of run folders, or a single run.

    Raises:
        UserError: there is no run.
    """
    folder = Path(folder)
    if (folder / plan.FILE).is_file():
        return [_planned(run) for run in plan.read_plan(folder).runs]
    if not folder.is_dir():
        what = "is a file" if folder.exists() else "does not exist"
        raise UserError(f"{folder} {what}, expected a folder of runs")
    if (folder / layout.CONFIG).is_file():
        folders = [folder]
    else:
        folders = sorted(file.parent for file in folder.glob(f"*/{layout.CONFIG}"))
    if not folders:
        raise UserError(f"{folder} holds no runs: no folder in it has {layout.CONFIG}")
    first: dict[str, Any] | None = None
    listed = []
    for each in folders:
        try:
            config = flatten(runs.read_json(each / layout.CONFIG))
            first = first or config
            listed.append(_plain(each, config, _changed(config, first)))
        except (UserError, KeyError) as error:
            listed.append(_damaged(each, {}, error))
    return listed


def _planned(run: plan.PlannedRun) -> Listed:
    try:
        state = run.state()
        return _listed(run.folder, state, run.steps, run.overrides)
    except (UserError, KeyError) as error:
        return _damaged(run.folder, run.overrides, error)


def _plain(folder: Path, config: dict[str, Any], changed: dict[str, Any]) -> Listed:
    steps = config["train.steps"]
    if (folder / layout.STATUS).exists():
        state = attempts.read(folder, steps)
    else:
        word = STOPPED
        if attempts.is_finished(folder, steps):
            word = attempts.FINISHED
        elif runs.is_locked(folder):
            word = "running"
        state = attempts.State(word, attempts.last_step(folder))
    return _listed(folder, state, steps, changed)


def _listed(
    folder: Path, state: attempts.State, steps: int, overrides: dict[str, Any]
) -> Listed:
    scored = [
        (row["mean_iou"], row["step"])
        for row in runs.read_evaluations(folder)
        if row["mean_iou"] == row["mean_iou"]  # NaN is best of nothing
    ]
    best, step = max(scored, key=lambda each: each[0], default=(None, None))
    age = _age(folder)
    return Listed(
        folder.resolve().name,
        state.word,
        state.step,
        steps,
        best,
        step,
        age,
        overrides,
        state.message,
        *_time(folder),
    )


def _time(folder: Path) -> tuple[float | None, dict[str, float] | None]:
    ledger = read_ledger(folder)
    return (None, None) if ledger is None else (ledger.wall, ledger.spent)


def _damaged(folder: Path, overrides: dict[str, Any], error: Exception) -> Listed:
    name = folder.resolve().name
    message = f"no {error}" if isinstance(error, KeyError) else str(error)
    return Listed(
        name, DAMAGED, None, None, None, None, _age(folder), overrides, message
    )


def _age(folder: Path) -> float | None:
    files = (folder / name for name in _WRITTEN)
    times = [file.stat().st_mtime for file in files if file.exists()]
    return max(0.0, time.time() - max(times)) if times else None


def _changed(config: dict[str, Any], first: dict[str, Any]) -> dict[str, Any]:
    keys: Iterable[str] = dict.fromkeys([*first, *config])
    missing = "missing"
    return {
        key: config.get(key, missing)
        for key in keys
        if config.get(key, missing) != first.get(key, missing)
    }


def described(run: Listed) -> str:
    """What tells it from the others, and why it failed, in one line."""
    return ": ".join(filter(None, (pairs(run.overrides), run.message)))
