"""Starting the runs of a study, and what is said of them."""

import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from resseg import runs
from resseg.config.structure import check_together
from resseg.console import duration
from resseg.data import sources
from resseg.errors import UserError
from resseg.runs import layout
from resseg.runs.dataset import changes
from resseg.sweeps import attempts
from resseg.sweeps.attempts import State
from resseg.sweeps.launchers import Job, Launcher
from resseg.sweeps.launchers.local import worker_command
from resseg.sweeps.plan import WORKER_LOGS, Plan, PlannedRun
from resseg.sweeps.study import Planned
from resseg.sweeps.sweep import Sweep


def check_groups(planned: Sequence[Planned]) -> None:
    """That at least two runs can go together; names what keeps them apart."""
    keys = [run.structure for run in planned]
    if len(set(keys)) == len(keys) > 1:
        check_together([planned[0].config, planned[1].config])


def check_same_data(planned: Sequence[Planned], workdir: Path) -> None:
    """That what was trained in a sweep folder has seen the data sets as they are now.

    Raises:
        UserError: one has changed; what is trained now could not be compared.
    """
    now: dict[str, dict[str, Any]] = {}
    for run in planned:
        folder, data = workdir / run.id, run.config.data
        then = runs.read_dataset(folder)
        if not then:
            continue
        if (key := str(data)) not in now:
            splits = (data.split, data.eval_split)
            now[key] = sources.fingerprint(data, splits)
        if changed := changes(then, now[key]):
            raise UserError(
                f"--workdir {workdir}: data set {data.name} has changed since run "
                f"{run.id} was begun: {'; '.join(changed)}. Prepare it as it was, or "
                "choose another folder"
            )


def train(
    plan: Plan,
    wanted: Sequence[PlannedRun],
    launcher: Launcher,
    *,
    jobs: int,
    retries: int,
    since: float,
    worker_options: Sequence[str],
    asked: Callable[[], bool],
) -> dict[str, State]:
    """Starts workers until every run has ended; returns how each did, by id.

    Args:
        plan: of the sweep folder.
        wanted: the runs to train.
        launcher: starts the workers.
        jobs: how many at a time.
        retries: how often a run that failed is tried again.
        since: seconds since the epoch; attempts before do not count.
        worker_options: further ones of `resseg.sweeps.worker`.
        asked: whether to stop before.
    """
    folder = plan.folder.absolute()
    command = worker_command(
        folder, "--retries", str(retries), "--since", repr(since), *worker_options
    )
    job = Job(
        folder=folder,
        logs=folder / WORKER_LOGS,
        command=command,
        environment={},
    )
    return Sweep(
        plan,
        wanted,
        launcher,
        job,
        jobs=jobs,
        retries=retries,
        since=since,
        asked=asked,
    ).run()


def closing_lines(
    plan: Plan, wanted: Sequence[PlannedRun], states: dict[str, State], since: float
) -> list[str]:
    """What failed and why, what was compiled, and where to look next."""
    lines = []
    for run in wanted:
        state = states[run.id]
        if state.word == "finished":
            continue
        lines.append(f"failed: {run.id} {run.name}")
        log = run.folder / layout.LOG
        text = log.read_text("utf-8", "replace").splitlines() if log.exists() else []
        lines += [f"    {line}" for line in text[-attempts.TAIL :] or [state.message]]
    made = [
        each
        for run in wanted
        for each in attempts.list_attempts(run.folder)
        if each["started"] >= since
    ]
    folder = shlex.quote(str(plan.folder))
    lines.append(f"{_compiled(made)}; next: resseg table {folder}")
    return lines


def _compiled(made: Sequence[dict[str, Any]]) -> str:
    counts = [each["compilations"] for each in made if "compilations" in each]
    # Runs that were trained together share what they compiled.
    shares = [1 / each["together"] for each in made if "compilations" in each]
    pairs = list(zip(counts, shares, strict=True))
    total = {
        key: sum(count[key] * share for count, share in pairs)
        for key in ("programs", "train_steps", "cached", "seconds")
    }
    return (
        f"{len(made)} attempts compiled {round(total['train_steps'])} train steps "
        f"({round(total['programs'])} programs in all, {round(total['cached'])} more "
        f"came from the cache; {duration(total['seconds'])})"
    )


def list_lines(planned: Sequence[Planned], workdir: Path | None) -> list[str]:
    """Id and overrides of each run; its state too where there is a sweep folder."""
    lines = []
    for run in planned:
        state = ""
        if workdir is not None:
            state = attempts.read(workdir / run.id, run.config.train.steps).word
        lines.append(f"{run.id}  {state:<{11 if state else 0}}{run.name}")
    return lines


def plan_lines(planned: Sequence[Planned], workdir: Path) -> list[str]:
    """What would be trained, and how much work it is."""
    states = [
        attempts.read(workdir / run.id, run.config.train.steps) for run in planned
    ]
    todo = [
        (run, state)
        for run, state in zip(planned, states, strict=True)
        if state.word != "finished"
    ]
    lines = []
    for run, state in todo:
        goes_on = f" from step {state.step}" if state.step else ""
        lines.append(
            f"{run.id}  {state.word}{goes_on}: {run.name or 'the base config'}"
        )
    programs = len({run.structure for run, _ in todo})
    steps = sum(run.config.train.steps - state.step for run, state in todo)
    lines.append(
        f"{len(todo)} of {len(planned)} runs to train, {steps} steps, with {programs} "
        "compiled train steps; nothing was started"
    )
    return lines
