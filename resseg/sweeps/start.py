"""`resseg sweep`: the runs of a study."""

import argparse
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from resseg.config.structure import check_together
from resseg.console import duration, say
from resseg.errors import UserError, choose
from resseg.runs import layout
from resseg.sweeps import attempts
from resseg.sweeps.attempts import State
from resseg.sweeps.launchers import Job, Launcher
from resseg.sweeps.plan import (
    PROGRAMS,
    WORKER_LOGS,
    Plan,
    PlannedRun,
    matches,
    write_plan,
)
from resseg.sweeps.study import Planned, Study, check_data, load_study

LAUNCHERS = ("local", "slurm", "ray")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments that `run_command` reads."""
    parser.add_argument("study", metavar="STUDY", help="study.py, or its folder")
    parser.add_argument("--workdir", metavar="DIR", help="folder of the run folders")
    parser.add_argument(
        "--only",
        metavar="PATTERN",
        help="runs whose id or overrides match, as in '*seed=0*'",
    )
    parser.add_argument(
        "--list", action="store_true", help="validate and list the runs, train nothing"
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="say what would be trained, and end"
    )
    parser.add_argument(
        "--retries",
        type=int,
        default=2,
        metavar="N",
        help="how often a run that failed is tried again (default 2)",
    )
    parser.add_argument(
        "--vectorize",
        nargs="?",
        type=int,
        const=16,
        default=1,
        metavar="N",
        help="train up to N runs that differ in numbers alone together (default 16)",
    )
    parser.add_argument(
        "--jobs",
        type=int,
        metavar="N",
        help="workers at a time (default: one per GPU, else one per four cores)",
    )
    parser.add_argument(
        "--launcher", default="local", metavar="L", help="local, slurm or ray"
    )
    parser.add_argument(
        "--slurm",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="option of the Slurm jobs, as in --slurm partition=gpu",
    )
    parser.add_argument(
        "--ray",
        default="auto",
        metavar="ADDRESS[,gpus=1]",
        help="of the Ray cluster, and what each worker needs of it",
    )


def run_command(args: argparse.Namespace) -> int:
    """Trains the runs; those that are finished are skipped.

    Returns:
        0, or 1 if a run failed.

    Raises:
        UserError: wrong input, before the first run starts.
    """
    choose("--launcher", args.launcher, LAUNCHERS)
    for name, least in (("retries", 0), ("vectorize", 1), ("jobs", 1)):
        value = getattr(args, name)
        if value is not None and value < least:
            raise UserError(f"--{name} {value}: expected {least} or more")
    study = load_study(args.study)
    planned = [run for run in study.runs if matches(args.only, run.id, run.name)]
    if not planned:
        raise UserError(f"--only {args.only!r}: matches none of {len(study.runs)} runs")
    workdir = Path(args.workdir) if args.workdir else None
    if args.list:
        _list(planned, workdir)
        return 0
    if workdir is None:
        raise UserError("--workdir is missing, expected a folder for the run folders")
    if args.vectorize > 1:
        _check_groups(planned)
    check_data(study, planned)
    if args.dry_run:
        _say_plan(planned, workdir)
        return 0
    plan = write_plan(study, workdir)
    wanted = [run for run in plan.runs if run.id in {each.id for each in planned}]
    return _train(args, study, plan, wanted)


def _check_groups(planned: Sequence[Planned]) -> None:
    """That at least two runs can go together; names what keeps them apart."""
    keys = [run.structure for run in planned]
    if len(set(keys)) == len(keys) > 1:
        check_together([planned[0].config, planned[1].config])


def _train(
    args: argparse.Namespace, study: Study, plan: Plan, wanted: Sequence[PlannedRun]
) -> int:
    from resseg.sweeps.launchers.local import default_jobs, worker_command
    from resseg.sweeps.sweep import Sweep

    jobs = args.jobs or (default_jobs() if args.launcher == "local" else 1)
    since = time.time()
    command = worker_command(
        plan.folder.absolute(),
        *("--retries", str(args.retries), "--since", repr(since)),
        *("--vectorize", str(args.vectorize)),
        *(("--only", args.only) if args.only else ()),
    )
    cache = os.environ.get("JAX_COMPILATION_CACHE_DIR")
    job = Job(
        folder=plan.folder.absolute(),
        logs=plan.folder.absolute() / WORKER_LOGS,
        command=command,
        environment={
            "JAX_COMPILATION_CACHE_DIR": cache or str(plan.folder.absolute() / PROGRAMS)
        },
    )
    sweep = Sweep(
        plan,
        wanted,
        _launcher(args, jobs),
        job,
        jobs=jobs,
        retries=args.retries,
        since=since,
    )
    states = sweep.run()
    failed = [run for run in wanted if states[run.id].word != "finished"]
    for line in closing_lines(plan, wanted, states, since):
        say(line)
    return 1 if failed else 0


def _launcher(args: argparse.Namespace, jobs: int) -> Launcher:
    if args.launcher == "slurm":
        from resseg.sweeps.launchers.slurm import SlurmLauncher

        return SlurmLauncher(_options(args.slurm))
    if args.launcher == "ray":
        from resseg.sweeps.launchers.ray import RayLauncher

        return RayLauncher(args.ray)
    from resseg.sweeps.launchers.local import LocalLauncher

    return LocalLauncher(jobs)


def _options(given: Sequence[str]) -> dict[str, str]:
    options = {}
    for text in given:
        key, equals, value = text.partition("=")
        if not (key and equals):
            raise UserError(f"--slurm {text}: expected KEY=VALUE, as in partition=gpu")
        options[key] = value
    return options


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
        text = log.read_text(errors="replace").splitlines() if log.exists() else []
        lines += [f"    {line}" for line in text[-attempts.TAIL :] or [state.message]]
    made = [
        each
        for run in wanted
        for each in attempts.list_attempts(run.folder)
        if each["started"] >= since
    ]
    lines.append(f"{_compiled(made)}; next: resseg table {plan.folder}")
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


def _list(planned: Sequence[Planned], workdir: Path | None) -> None:
    for run in planned:
        state = ""
        if workdir is not None:
            state = attempts.read(workdir / run.id, run.config.train.steps).word
        print(f"{run.id}  {state:<{11 if state else 0}}{run.name}")


def _say_plan(planned: Sequence[Planned], workdir: Path) -> None:
    states = [
        attempts.read(workdir / run.id, run.config.train.steps) for run in planned
    ]
    todo = [
        (run, state)
        for run, state in zip(planned, states, strict=True)
        if state.word != "finished"
    ]
    for run, state in todo:
        goes_on = f" from step {state.step}" if state.step else ""
        say(f"{run.id}  {state.word}{goes_on}: {run.name or 'the base config'}")
    programs = len({run.structure for run, _ in todo})
    steps = sum(run.config.train.steps - state.step for run, state in todo)
    say(
        f"{len(todo)} of {len(planned)} runs to train, {steps} steps, with {programs} "
        "compiled train steps; nothing was started"
    )
