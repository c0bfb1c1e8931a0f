"""Trains the runs of a study one after another on this machine."""

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from resseg import runs
from resseg.progress import duration, say
from resseg.runs import layout
from resseg.runs.lines import read_lines
from resseg.sweeps.study import Planned, Study

LOG = "log.txt"
_PLANS = "plans"  # the config of each run
_CACHE = "programs"  # XLA's: runs that differ in numbers share a program
_TAIL = 3  # last lines of the log of a failed run that are shown


def run_all(study: Study, planned: Sequence[Planned], workdir: Path) -> list[Planned]:
    """Trains what is not finished; goes on where a run was cut.

    Each run is a process of its own, so that one that fails takes no other with it.

    Returns:
        The runs that failed.
    """
    failed, seconds = [], []
    for number, run in enumerate(planned, 1):
        where = f"[{number}/{len(planned)}] {run.id} {run.name}"
        if finished(run, workdir):
            say(f"{where}: finished before")
            continue
        began = time.monotonic()
        status = _train(run, workdir)
        seconds.append(time.monotonic() - began)
        left = (len(planned) - number) * sum(seconds) / len(seconds)
        if status == 0:
            score = evaluations(run, workdir)[-1]["mean_iou"]
            say(f"{where}: mIoU {score:.4f}, {duration(left)} left")
            continue
        failed.append(run)
        say(f"{where}: failed with status {status}")
        for line in (folder_of(run, workdir) / LOG).read_text().splitlines()[-_TAIL:]:
            say(f"    {line}")
    return failed


def folder_of(run: Planned, workdir: Path) -> Path:
    """The run folder of a planned run."""
    return workdir / run.id


def finished(run: Planned, workdir: Path) -> bool:
    """Whether it has been trained to its end."""
    steps = [row["step"] for row in evaluations(run, workdir)]
    return run.config.train.steps in steps


def evaluations(run: Planned, workdir: Path) -> list[dict]:
    """The evaluations it has written so far."""
    file = folder_of(run, workdir) / layout.METRICS
    rows = read_lines(file) if file.exists() else []
    return [row for row in rows if row["split"] == "val"]


def _train(run: Planned, workdir: Path) -> int:
    # Not in the run folder: the trainer checks what lies there against its config.
    plan = runs.prepare(workdir / _PLANS / run.id)
    runs.write_config(plan, run.config)
    folder = runs.prepare(folder_of(run, workdir))
    command = [sys.executable, "-m", "resseg", "train"]
    command += ["--config", str(plan / layout.CONFIG), "--workdir", str(folder)]
    cache = {"JAX_COMPILATION_CACHE_DIR": str(workdir / _CACHE)}
    with open(folder / LOG, "a") as log:
        done = subprocess.run(
            command, stdout=log, stderr=subprocess.STDOUT, env={**os.environ, **cache}
        )
    return done.returncode
