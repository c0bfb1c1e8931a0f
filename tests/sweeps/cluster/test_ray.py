"""Sweeps on a real Ray cluster of two nodes, and nodes of it that are killed."""

import os
import signal

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

from resseg.errors import UserError
from resseg.sweeps.launchers.ray import RayLauncher

# Ray starts its processes with a fork and an exec; JAX, where it has a device by then,
# warns of forks that go on without one.
pytestmark = [
    pytest.mark.cluster,
    pytest.mark.filterwarnings("ignore:os.fork.. was called:RuntimeWarning"),
]


@pytest.fixture
def launcher(ray_nodes):
    launcher = RayLauncher(ray_nodes.address)
    yield launcher
    launcher.stop()


def test_four_runs_are_trained_once_each_by_two_tasks(whole_on_ray):
    work, status, out = whole_on_ray
    assert status == 0 and "[4/4]" in out, out
    assert outcomes(work) == [["finished"]] * 4
    assert len(list((work / "workers").glob("ray-*.log"))) == 2


def test_a_run_whose_node_is_killed_goes_on_on_another(
    ray_nodes, whole_on_ray, four_runs, tmp_path
):
    whole, cut = whole_on_ray[0], tmp_path / "cut"
    where = f"{ray_nodes.address},memory=4"  # GiB: the second node alone has them
    arguments = ("--launcher", "ray", "--ray", where, "--only", "*seed=2*")
    process = start(four_runs, cut, *arguments)
    wait_until(lambda: steps_made(cut) > STEPS // 3)
    ray_nodes.kill()
    ray_nodes.add()
    out, _ = process.communicate()
    assert process.returncode == 0, out
    first, last = outcomes(cut)[2]
    assert first in (None, "preempted") and last == "finished"
    ((id_, rows),) = metrics(cut).items()
    assert rows == metrics(whole)[id_]


def test_a_run_that_fails_is_reported_and_the_others_go_on(
    ray_nodes, four_runs, tmp_path
):
    work = tmp_path / "work"
    (tmp_path / "config.py").write_text((four_runs / "config.py").read_text())
    (tmp_path / "study.py").write_text(STUDY + FAILING)
    process = start(tmp_path, work, "--launcher", "ray", "--ray", ray_nodes.address)
    out, _ = process.communicate()
    assert process.returncode == 1, out
    assert out.count("\nfailed: ") == 1 and "optim.learning_rate=1e+30" in out
    assert outcomes(work) == [["refused"], ["finished"]]


def test_workers_that_fail_are_named_with_their_last_words(launcher, tmp_path):
    launcher.start(dummy(tmp_path, seconds=0, status=3), 1)
    launcher.start(dummy(tmp_path, seconds=0), 1)
    wait_until(lambda: launcher.alive() == 0)
    (trouble,) = launcher.troubles()
    expected = "a Ray worker ended with status 3: this is my last word ("
    assert trouble.startswith(expected)
    assert launcher.troubles() == []


def test_a_worker_that_is_told_to_end_is_started_again(launcher, tmp_path):
    launcher.start(dummy(tmp_path, seconds=2), 1)
    wait_until(lambda: notes(tmp_path) == ["started"])
    os.kill(int((tmp_path / "notes.txt").read_text().split()[1]), signal.SIGTERM)
    wait_until(lambda: notes(tmp_path) == ["started", "told", "started"])
    wait_until(lambda: launcher.alive() == 0)
    assert launcher.troubles() == []


def test_stopping_ends_the_workers(ray_nodes, tmp_path):
    launcher = RayLauncher(ray_nodes.address)
    launcher.start(dummy(tmp_path, seconds=100), 3)  # there is room for two
    wait_until(lambda: notes(tmp_path) == ["started"] * 2)
    assert launcher.alive() == 3
    launcher.stop()
    assert sorted(notes(tmp_path)) == ["started"] * 2 + ["told"] * 2


def test_a_worker_that_fits_no_node_is_refused(ray_nodes, tmp_path):
    with pytest.raises(UserError) as caught:
        RayLauncher(f"{ray_nodes.address},gpus=1")
    assert str(caught.value) == (
        "--ray: no node of the cluster has cpus=1, gpus=1 (they have "
        "cpus=1, gpus=0, memory=1; cpus=1, gpus=0, memory=8)"
    )
