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
    ],
)
def test_wrong_options_of_slurm_are_one_line(options, message):
    with pytest.raises(UserError) as caught:
        slurm.SlurmLauncher(options)
    assert str(caught.value) == message


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
