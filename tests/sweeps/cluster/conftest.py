"""A Slurm of one node and a Ray cluster of two, started here and ended here."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from cluster_sweeps import STUDY, RayNodes, start
from tiny_study import tiny_config

SETUP = Path(__file__).resolve().parents[3] / "tools" / "setup_slurm.sh"


def give_up(reason):
    """Skips, or fails where these tests must run."""
    if os.environ.get("RESSEG_CLUSTER_TESTS") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def slurm(tmp_path_factory):
    """Slurm's commands reach a cluster of one node with two CPUs."""
    if os.geteuid() != 0:
        give_up("only root can start Slurm")
    if not (shutil.which("sbatch") or shutil.which("apt-get")):
        give_up("Slurm is not installed, and there is no apt-get")
    folder = tmp_path_factory.mktemp("slurm")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SLURM_CONF", str(folder / "slurm.conf"))
        started = subprocess.run(
            ["bash", SETUP, "start", folder], capture_output=True, text=True
        )
        if started.returncode:
            give_up(started.stderr.strip())
        yield
        subprocess.run(["bash", SETUP, "stop", folder], check=True)


@pytest.fixture(scope="session")
def ray_nodes(tmp_path_factory):
    """A Ray cluster on loopback: see `RayNodes`."""
    with pytest.MonkeyPatch.context() as patch:
        nodes = RayNodes(tmp_path_factory.mktemp("ray"), patch)
        yield nodes
        nodes.shutdown()


@pytest.fixture(scope="session")
def four_runs(tmp_path_factory, data_dir):
    """The folder of a study of four runs that take seconds."""
    folder = tmp_path_factory.mktemp("study")
    (folder / "config.py").write_text(tiny_config(data_dir, every=5))
    (folder / "study.py").write_text(STUDY)
    return folder


@pytest.fixture(scope="session")
def whole_on_slurm(slurm, four_runs, tmp_path_factory):
    """That study trained by two jobs that nobody disturbs: sweep folder and output."""
    work = tmp_path_factory.mktemp("whole") / "slurm"
    process = start(four_runs, work, "--launcher", "slurm", "--jobs", "2")
    return work, *finish(process)


@pytest.fixture(scope="session")
def whole_on_ray(ray_nodes, four_runs, tmp_path_factory):
    """That study trained by two tasks that nobody disturbs: sweep folder and output."""
    work = tmp_path_factory.mktemp("whole") / "ray"
    arguments = ("--launcher", "ray", "--ray", ray_nodes.address, "--jobs", "2")
    return work, *finish(start(four_runs, work, *arguments))


def finish(process):
    out, _ = process.communicate()
    return process.returncode, out
