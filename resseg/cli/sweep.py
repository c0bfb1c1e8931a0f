"""`resseg sweep`: the runs of a study."""

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from resseg.cli import interrupts
from resseg.errors import UserError, choose

if TYPE_CHECKING:
    from resseg.sweeps.launchers import Launcher

SUMMARY = "train the runs of a study"
EPILOG = """\
examples:
  resseg sweep experiments/shortcut_gradient --list
  resseg sweep experiments/shortcut_gradient --workdir sweeps/shortcut_gradient
  resseg sweep experiments/shortcut_gradient --workdir sweeps/shortcut_gradient \\
      --only '*optim.name=sgd*' --dry-run
  resseg sweep STUDY --workdir DIR --jobs 4
  resseg sweep STUDY --workdir DIR --launcher slurm --jobs 8 \\
      --slurm partition=gpu --slurm gpus-per-node=1 --slurm time=4:00:00

A study is a file with a question, a CONFIG and runs(), the overrides of each run. All
are validated before the first starts. Kill it at any time: the same command run again
skips what is finished and goes on where a run was cut; SIGTERM and Ctrl-C let workers
save first. Two commands on one folder share the work. DIR/ID is a run folder like any
other; `resseg table DIR` has the answer."""
LAUNCHERS = ("local", "slurm", "ray")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments that `run` reads."""
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


def run(arguments: argparse.Namespace) -> int:
    """Trains the runs; those that are finished are skipped.

    Returns:
        0, also where it was asked to stop, or 1 if a run failed.

    Raises:
        UserError: wrong input, before the first run starts.
    """
    from resseg.console import say
    from resseg.sweeps import start
    from resseg.sweeps.plan import matches, write_plan
    from resseg.sweeps.study import check_data, load_study

    choose("--launcher", arguments.launcher, LAUNCHERS)
    for name, least in (("retries", 0), ("vectorize", 1), ("jobs", 1)):
        value = getattr(arguments, name)
        if value is not None and value < least:
            raise UserError(f"--{name} {value}: expected {least} or more")
    study = load_study(arguments.study)
    planned = [run for run in study.runs if matches(arguments.only, run.id, run.name)]
    if not planned:
        raise UserError(
            f"--only {arguments.only!r}: matches none of {len(study.runs)} runs"
        )
    workdir = Path(arguments.workdir) if arguments.workdir else None
    if arguments.list:
        print("\n".join(start.list_lines(planned, workdir)))
        return 0
    if workdir is None:
        raise UserError("--workdir is missing, expected a folder for the run folders")
    if arguments.vectorize > 1:
        start.check_groups(planned)
    check_data(study, planned)
    start.check_same_data(planned, workdir)
    if arguments.dry_run:
        for line in start.plan_lines(planned, workdir):
            say(line)
        return 0
    plan = write_plan(study, workdir)
    wanted = [run for run in plan.runs if run.id in {each.id for each in planned}]
    stop = interrupts.stop_in_order()
    stop.in_order()
    since = time.time()
    jobs = arguments.jobs or _default_jobs(arguments.launcher)
    more = ["--vectorize", str(arguments.vectorize)]
    if arguments.only:
        more += ["--only", arguments.only]
    states = start.train(
        plan,
        wanted,
        _launcher(arguments, jobs),
        jobs=jobs,
        retries=arguments.retries,
        since=since,
        worker_options=more,
        asked=lambda: stop.asked,
    )
    if stop.asked:
        done = sum(states[run.id].word == "finished" for run in wanted)
        say(
            f"stopped with {done} of {len(wanted)} runs finished, those at work saved; "
            "the same command goes on from there"
        )
        return 0
    for line in start.closing_lines(plan, wanted, states, since):
        say(line)
    return 1 if any(states[run.id].word != "finished" for run in wanted) else 0


def _default_jobs(launcher: str) -> int:
    from resseg.sweeps.launchers.local import default_jobs

    return default_jobs() if launcher == "local" else 1


def _launcher(arguments: argparse.Namespace, jobs: int) -> "Launcher":
    if arguments.launcher == "slurm":
        from resseg.sweeps.launchers.slurm import SlurmLauncher

        return SlurmLauncher(_options(arguments.slurm))
    if arguments.launcher == "ray":
        from resseg.sweeps.launchers.ray import RayLauncher

        return RayLauncher(arguments.ray)
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
