"""What is said of the options of launchers, before a cluster is asked anything."""

import socket
import sys
import types

import pytest

from resseg.errors import UserError
from resseg.sweeps.launchers import ray, slurm


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("90", 90),
        ("90:30", 91),
        ("1:00:00", 60),
        ("2-0", 2880),
        ("1-2:30", 1590),
        ("1-00:00:01", 1441),
    ],
)
def test_time_limits_are_read_as_slurm_reads_them(text, expected):
    assert slurm.minutes(text) == expected


@pytest.mark.parametrize("text", ["", "0", "1h", "1:2:3:4", "-5", "1-", "x-1", "1:-2"])
def test_what_is_no_time_limit_is_refused(text):
    with pytest.raises(UserError, match=f"^--slurm time={text}: expected minutes"):
        slurm.minutes(text)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"array": "0-9"}, "--slurm array=0-9: is set by resseg itself"),
        ({"job_name": "x"}, "--slurm job-name=x: is set by resseg itself"),
        ({"grace": "1m"}, "--slurm grace=1m: expected seconds"),
        (
            {"grace": "600", "time": "10"},
            "--slurm grace=600: expected less than the time limit, 10",
        ),
        (
            {"container-command": "apptainer exec 'a"},
            "--slurm container-command=apptainer exec 'a: No closing quotation",
        ),
    ],
)
def test_wrong_options_of_slurm_are_one_line(options, message):
    with pytest.raises(UserError) as caught:
        slurm.SlurmLauncher(options)
    assert str(caught.value) == message


@pytest.fixture
def watched(monkeypatch, tmp_path):
    """A launcher with two jobs, and what Slurm says of them."""
    monkeypatch.setattr(slurm, "_check_installed", lambda: None)
    launcher, said = slurm.SlurmLauncher({}, poll=0.0), {}
    launcher._jobs = {name: tmp_path / f"{name}.log" for name in ("7_0", "7_1")}
    for log in launcher._jobs.values():
        log.write_text("last word\n")
    monkeypatch.setattr(slurm, "_ask", lambda _: said)
    said |= dict.fromkeys(launcher._jobs, slurm._Queued("RUNNING", "None"))
    return launcher, said


@pytest.mark.parametrize(
    "state",
    [
        *("OUT_OF_MEMORY", "NODE_FAIL", "TIMEOUT", "PREEMPTED", "BOOT_FAIL"),
        *("DEADLINE", "FAILED", "REVOKED"),
    ],
)
def test_a_job_that_is_lost_is_named_by_its_state_and_may_be_replaced(watched, state):
    launcher, said = watched
    said["7_1"] = slurm._Queued(state, "None")
    assert (launcher.alive(), launcher.cancelled) == (1, 0)
    (trouble,) = launcher.troubles()
    assert trouble.startswith(f"Slurm job 7_1: {state}: last word (")


@pytest.mark.parametrize("state", ["PENDING", "REQUEUED", "COMPLETING", "SUSPENDED"])
def test_a_job_that_slurm_starts_again_is_alive(watched, state):
    launcher, said = watched
    said["7_1"] = slurm._Queued(state, "BeginTime")
    assert (launcher.alive(), launcher.troubles()) == (2, [])


def test_a_job_that_somebody_cancels_is_not_replaced(watched, monkeypatch):
    launcher, said = watched
    said["7_1"] = slurm._Queued("CANCELLED", "None")
    assert (launcher.alive(), launcher.cancelled) == (1, 1)
    assert launcher.troubles() == [
        "Slurm job 7_1: CANCELLED, not by this sweep: no other takes its place"
    ]
    said["7_0"] = said["7_1"]
    monkeypatch.setattr(slurm.subprocess, "run", lambda *_, **__: None)
    launcher.stop()
    assert (launcher.alive(), launcher.cancelled, launcher.troubles()) == (0, 1, [])


def test_what_slurm_needs_and_misses_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(UserError, match=r"submitit is missing, pip .*resseg\[slurm\]"):
        slurm.SlurmLauncher({})
    monkeypatch.setitem(sys.modules, "submitit", types.ModuleType("submitit"))
    with pytest.raises(UserError, match="no sbatch here, start it where Slurm's"):
        slurm.SlurmLauncher({})


@pytest.mark.parametrize(
    ("where", "address", "resources"),
    [
        ("auto", "auto", {"cpus": 1, "gpus": 0, "memory": 0}),
        ("gpus=0.5", "auto", {"cpus": 1, "gpus": 0.5, "memory": 0}),
        ("head:6379,cpus=4", "head:6379", {"cpus": 4, "gpus": 0, "memory": 0}),
    ],
)
def test_where_ray_runs_workers_and_what_they_take(where, address, resources):
    assert ray.parse(where) == (address, resources)


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("auto,gpu=1", r"--ray='gpu': choose from cpus, gpus, memory \(did you mean"),
        ("cpus=-1", "--ray cpus=-1: expected a number, 0 or more"),
        ("cpus=many", "--ray cpus=many: expected a number, 0 or more"),
        ("head", "--ray head: expected host:port, or auto"),
    ],
)
def test_wrong_options_of_ray_are_one_line(monkeypatch, where, message):
    monkeypatch.setitem(sys.modules, "ray", types.ModuleType("ray"))
    with pytest.raises(UserError, match=f"^{message}"):
        ray.RayLauncher(where)


def test_what_ray_needs_and_misses_is_named(monkeypatch):
    with socket.socket() as bound:  # and nobody listens
        bound.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{bound.getsockname()[1]}"
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, "ray", types.ModuleType("ray"))
            with pytest.raises(UserError, match=f"{address}: no Ray cluster answers"):
                ray.RayLauncher(address)
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match=r"Ray is missing, pip install 'resseg\[ray\]'"):
        ray.RayLauncher()
