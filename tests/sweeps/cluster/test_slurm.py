"""Sweeps under a real Slurm, and jobs of it that are cut."""

import subprocess
import sys

import pytest
from cluster_sweeps import (
    FAILING,
    STEPS,
    STUDY,
    dummy,
    metrics,
    notes,
    outcomes,
    start,
)
from tiny_study import steps_made, wait_until

from resseg.cli.main import main
from resseg.sweeps.launchers.slurm import SlurmLauncher

pytestmark = pytest.mark.cluster
HUNGRY = """
import time
held = []
while True:
    held.append(bytearray(b"x" * (20 << 20)))
    time.sleep(0.1)
"""


def queued():
    """Names of the jobs that have not ended."""
    command = ["squeue", "--noheader", "--array", "--format=%i"]
    return subprocess.check_output(command, text=True).split()


def test_four_runs_are_trained_once_each_by_two_jobs(whole_on_slurm):
    work, status, out = whole_on_slurm
    assert status == 0 and "[4/4]" in out, out
    assert outcomes(work) == [["finished"]] * 4
    assert len(list((work / "workers" / "slurm").glob("*_log.out"))) == 2
    assert queued() == []


def test_a_run_whose_job_is_requeued_ends_as_if_it_were_not(
    whole_on_slurm, four_runs, tmp_path
):
    whole, cut = whole_on_slurm[0], tmp_path / "cut"
    process = start(four_runs, cut, "--launcher", "slurm", "--only", "*seed=2*")
    wait_until(lambda: steps_made(cut) > STEPS // 3)
    (job,) = queued()
    subprocess.run(["scontrol", "requeue", job], check=True)
    out, _ = process.communicate()
    assert process.returncode == 0, out
    assert outcomes(cut) == [[], [], ["preempted", "finished"], []]
    log = next((cut / "workers" / "slurm").glob("*_log.out")).read_text()
    assert log.count("submitit INFO") >= 2 and "DUE TO JOB REQUEUE" in log
    ((id_, rows),) = metrics(cut).items()
    assert rows == metrics(whole)[id_]


def test_a_run_that_fails_is_reported_and_the_others_go_on(slurm, four_runs, tmp_path):
    work = tmp_path / "work"
    (tmp_path / "config.py").write_text((four_runs / "config.py").read_text())
    (tmp_path / "study.py").write_text(STUDY + FAILING)
    process = start(tmp_path, work, "--launcher", "slurm")
    out, _ = process.communicate()
    assert process.returncode == 1, out
    assert out.count("\nfailed: ") == 1 and "optim.learning_rate=1e+30" in out
    assert outcomes(work) == [["refused"], ["finished"]]


def test_a_job_near_its_time_limit_ends_its_worker_and_is_queued_again(slurm, tmp_path):
    launcher = SlurmLauncher({"time": "10"}, poll=0.2)
    launcher.start(dummy(tmp_path, seconds=2), 1)
    wait_until(lambda: notes(tmp_path) == ["started"])
    (job,) = queued()
    # What Slurm sends `grace` seconds before the limit.
    subprocess.run(["scancel", "--signal=USR2", job], check=True)
    wait_until(lambda: notes(tmp_path) == ["started", "told", "started"])
    assert launcher.alive() == 1 and queued() == [job]
    wait_until(lambda: launcher.alive() == 0)
    assert launcher.troubles() == []


def test_jobs_that_fail_are_named_with_their_last_words(slurm, tmp_path):
    launcher = SlurmLauncher({}, poll=0.2)
    launcher.start(dummy(tmp_path, seconds=0, status=3), 2)
    wait_until(lambda: launcher.alive() == 0)
    troubles = sorted(launcher.troubles())
    assert len(troubles) == 2
    for index, trouble in enumerate(troubles):
        assert f"_{index}: FAILED: this is my last word / srun: error:" in trouble
    assert launcher.troubles() == []


def test_a_job_that_takes_more_memory_than_it_asked_for_is_named(slurm, tmp_path):
    """Slurm itself ends it: OUT_OF_MEMORY, or FAILED with these last words."""
    launcher = SlurmLauncher({"mem": "300M"}, poll=0.2)
    job = dummy(tmp_path, seconds=0)
    launcher.start(job._replace(command=[sys.executable, "-c", HUNGRY]), 1)
    wait_until(lambda: launcher.alive() == 0)
    (trouble,) = launcher.troubles()
    assert "OUT_OF_MEMORY" in trouble or "Exceeded job memory limit" in trouble
    assert launcher.cancelled == 0  # so that another takes its place


def test_stopping_cancels_the_jobs(slurm, tmp_path):
    launcher = SlurmLauncher({"cpus-per-task": "2"})
    launcher.start(dummy(tmp_path, seconds=100), 2)  # there is room for one
    wait_until(lambda: notes(tmp_path) == ["started"])
    assert launcher.alive() == 2
    launcher.stop()
    assert (launcher.alive(), launcher.troubles(), queued()) == (0, [], [])
    assert notes(tmp_path) == ["started", "told"]


def test_a_job_that_somebody_cancels_is_not_replaced(slurm, tmp_path):
    launcher = SlurmLauncher({}, poll=0.2)
    launcher.start(dummy(tmp_path, seconds=100), 1)
    wait_until(lambda: notes(tmp_path) == ["started"])
    subprocess.run(["scancel", *queued()], check=True)
    wait_until(lambda: launcher.alive() == 0)
    (trouble,) = launcher.troubles()
    assert "CANCELLED, not by this sweep" in trouble and launcher.cancelled == 1


def test_a_worker_is_started_by_the_command_of_a_container(slurm, tmp_path):
    """One that notes what it is to run, as `python` of the container."""
    container = tmp_path / "container"
    container.write_text(
        f'#!/bin/sh\necho "$1 $2 $3" >"{tmp_path}/ran"\nshift 3\n'
        f'exec "{sys.executable}" "$@"\n'
    )
    container.chmod(0o755)
    launcher = SlurmLauncher(
        {"container-command": f"'{container}' exec image.sif"}, poll=0.2
    )
    launcher.start(dummy(tmp_path, seconds=0), 1)
    wait_until(lambda: launcher.alive() == 0)
    assert launcher.troubles() == []
    assert (tmp_path / "ran").read_text() == "exec image.sif python\n"
    assert notes(tmp_path)[0] == "started"


def test_a_job_that_fits_no_node_is_given_up(slurm, tmp_path):
    launcher = SlurmLauncher({"cpus-per-task": "99"}, poll=0.2)
    launcher.start(dummy(tmp_path, seconds=0), 1)
    wait_until(lambda: launcher.alive() == 0)
    (trouble,) = launcher.troubles()
    assert trouble.endswith("can never start: PartitionConfig (see man squeue)")


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("partition=nope", "--slurm: invalid partition specified: nope"),
        ("partitoin=main", "--slurm: unrecognized option '--partitoin=main'"),
        ("mem=99T", "--slurm: Memory specification can not be satisfied"),
    ],
)
def test_what_sbatch_refuses_is_one_line(
    slurm, four_runs, tmp_path, capfd, option, message
):
    arguments = ["--workdir", str(tmp_path), "--launcher", "slurm", "--slurm", option]
    assert main(["sweep", str(four_runs), *arguments]) == 2
    *_, line = capfd.readouterr().err.splitlines()
    assert line == f"resseg: error: {message}"
