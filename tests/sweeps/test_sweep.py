"""`resseg sweep` as a user runs it: killed, started again, shared, refused."""

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_study import steps_made, wait_until

from resseg import runs
from resseg.cli.main import main
from resseg.runs import layout
from resseg.sweeps import attempts
from resseg.sweeps.launchers import local
from resseg.sweeps.plan import read_plan

STUDY = '''"""Do runs that are killed end as if they were not?"""
from resseg.sweeps import product, seeds
CONFIG = "config.py"
def runs():
    return product(seeds(2), {"optim.learning_rate": [1e-3, 1e-2],
                              "train.steps": [%d]})
'''
LONG = [pytest.mark.bits, pytest.mark.slow]


def start(folder, work, *arguments):
    command = [sys.executable, "-m", "resseg", "sweep", str(folder)]
    return subprocess.Popen(
        [*command, "--workdir", str(work), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def workers_of(work):
    """Process ids of the workers of a sweep folder."""
    found = []
    for folder in os.listdir("/proc"):
        with contextlib.suppress(OSError):
            command = Path(f"/proc/{folder}/cmdline").read_text().split("\0")
            if "resseg.sweeps.worker" in command and str(work) in command:
                found.append(int(folder))
    return found


def results(work):
    """What must not depend on whether a run was cut: its metrics and gradients."""
    return {
        run.id: (
            (run.folder / layout.METRICS).read_bytes(),
            runs.open_run(run.folder).gradients,
        )
        for run in read_plan(work).runs
    }


@pytest.mark.parametrize(
    ("killed", "steps"),
    [
        pytest.param(("worker",), 12, marks=pytest.mark.bits),
        pytest.param(("parent", "worker", "parent"), 40, marks=LONG),
    ],
    ids=["once", "again and again"],
)
def test_a_sweep_that_is_killed_ends_as_one_that_is_not(study, tmp_path, killed, steps):
    folder, whole, cut = study(STUDY % steps, 4), tmp_path / "whole", tmp_path / "cut"
    out, _ = start(folder, whole, "--jobs", "1").communicate()
    assert "[4/4]" in out and "4 attempts compiled" in out
    seed = random.randrange(2**32)
    chance = random.Random(seed)
    share = 4 * steps // len(killed)
    for part, target in enumerate(killed):
        least = part * share + chance.randrange(1, share // 2)
        process = start(folder, cut, "--jobs", "1")
        wait_until(lambda least=least: steps_made(cut) >= least)
        if target == "parent":
            process.kill()
        else:
            for worker in workers_of(cut):
                os.kill(worker, signal.SIGKILL)
            wait_until(lambda before=least: steps_made(cut) > before)
            process.kill()
        process.communicate()
        wait_until(lambda: not workers_of(cut), seconds=30)  # they end with the parent
    out, _ = start(folder, cut, "--jobs", "1").communicate()
    assert "runs, " in out and "compiled" in out
    expected, found = results(whole), results(cut)
    assert expected.keys() == found.keys()
    for id_, (metrics, gradients) in expected.items():
        assert found[id_][0] == metrics, f"run {id_}, seed {seed} of this test"
        assert found[id_][1].equals(gradients)
    outcomes = [
        [each["outcome"] for each in attempts.list_attempts(run.folder)]
        for run in read_plan(cut).runs
    ]
    # Nothing was begun again once it was finished: all attempts but the last were
    # broken off or, as the parent ended, saved. The last is broken off too if the kill
    # came between its end and the note of it.
    assert all(set(each[:-1]) <= {None, "preempted"} for each in outcomes), outcomes
    assert all(each[-1] in (None, "finished") for each in outcomes), outcomes
    # A kill breaks off one attempt; that of a worker alone a second, as the parent
    # starts another before it is killed too.
    assert sum(map(len, outcomes)) <= 4 + len(killed) + killed.count("worker")


def test_two_sweeps_of_one_folder_share_the_work(study, tmp_path):
    folder, work = study(STUDY % 4, 4), tmp_path / "work"
    one, other = (start(folder, work, "--jobs", "1") for _ in range(2))
    texts = [process.communicate()[0] for process in (one, other)]
    assert [one.returncode, other.returncode] == [0, 0], texts
    tried = [len(attempts.list_attempts(run.folder)) for run in read_plan(work).runs]
    assert tried == [1] * 4
    assert all("[4/4]" in text for text in texts)


def test_a_failed_run_stops_no_other_and_the_end_says_why(study, tmp_path, capsys):
    text = STUDY.replace("1e-3, 1e-2", "1e30, 1e-2") % 6
    folder, work = study(text), tmp_path / "work"
    assert main(["sweep", str(folder), "--workdir", str(work)]) == 1
    out = capsys.readouterr().out
    assert out.count("\nfailed: ") == 2 and "optim.learning_rate=1e+30" in out
    assert "nothing after the last checkpoint is kept" in out
    words = [run.state().word for run in read_plan(work).runs]
    assert words == ["failed", "finished", "failed", "finished"]
    assert main(["sweep", str(folder), "--workdir", str(work), "--list"]) == 0
    listed = capsys.readouterr().out.splitlines()
    assert [line.split()[1] for line in listed] == words


def test_a_dry_run_says_what_it_would_do_and_does_nothing(study, tmp_path, capsys):
    work = tmp_path / "work"
    command = ["sweep", str(study()), "--workdir", str(work), "--dry-run"]
    assert main([*command, "--only", "*seed=0*"]) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("2 of 2 runs to train, 12 steps, with 2 compiled")
    assert not work.exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--launcher", "slrum"], "--launcher='slrum': choose from local, slurm, ray"),
        (["--jobs", "0"], "--jobs 0: expected 1 or more"),
        (["--only", "nothing"], "--only 'nothing': matches none of 4 runs"),
        (["--launcher", "slurm", "--slurm", "gpu"], "--slurm gpu: expected KEY=VALUE"),
        (
            ["--vectorize", "--only", "*seed=0*"],
            "--vectorize: config.model.backbone.width is 4 in the first of the runs "
            "and 8 in number 2",
        ),
        ([], "--workdir is missing"),
    ],
)
def test_wrong_options_are_one_line(study, tmp_path, capsys, arguments, message):
    work = ["--workdir", str(tmp_path / "work")] if arguments else []
    assert main(["sweep", str(study()), *work, *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


def test_the_folder_of_another_study_is_refused(study, tmp_path, capsys):
    work = tmp_path / "work"
    work.mkdir()
    (work / "sweep.json").write_text(json.dumps({"study": "depth"}))
    assert main(["sweep", str(study()), "--workdir", str(work)]) == 2
    assert "holds the study 'depth', not 'width'" in capsys.readouterr().err
    assert os.listdir(work) == ["sweep.json"]


@contextlib.contextmanager
def mounted(folder, options):
    """A file system of its own on a folder."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    try:
        done = subprocess.run(command, capture_output=True)
    except FileNotFoundError:
        pytest.skip("no mount here")
    if done.returncode:
        pytest.skip("may not mount here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_read_only_folder_is_one_line(study, tmp_path, capsys):
    with mounted(tmp_path / "small", "ro,size=1m") as small:
        assert main(["sweep", str(study()), "--workdir", str(small)]) == 2
    error = capsys.readouterr().err
    assert "cannot be written to: Read-only file system" in error
    assert error.count("\n") == 1


def test_a_full_disk_is_one_line_and_nothing_finished_is_lost(study, tmp_path, capsys):
    """Room for the first run, and not for all."""
    folder = study(STUDY % 6)
    with mounted(tmp_path / "small", "size=6m") as small:
        command = ["sweep", str(folder), "--workdir", str(small), "--jobs", "1"]
        assert main([*command, "--only", "*seed=0*0.001*"]) == 0
        kept = (small / read_plan(small).runs[0].id / layout.METRICS).read_bytes()
        capsys.readouterr()
        (small / "ballast").write_bytes(bytes(fill(small)))
        assert main(command) == 2
        error = capsys.readouterr().err
        assert "No space left on device; what is finished is kept" in error
        assert error.count("\n") == 1
        run = read_plan(small).runs[0]
        assert (run.folder / layout.METRICS).read_bytes() == kept
        (small / "ballast").unlink()
        assert main([*command, "--only", "*seed=0*0.01*"]) == 0


def fill(folder):
    """Bytes that leave little room."""
    free = os.statvfs(folder)
    return free.f_bavail * free.f_frsize - 700_000


def test_workers_have_cores_of_their_own(monkeypatch):
    monkeypatch.setattr(local, "_cores", lambda: list(range(8)))
    shares = [local.share_of_cores(slot, 3) for slot in range(3)]
    assert shares == [[0, 1], [2, 3, 4], [5, 6, 7]]
    assert local.share_of_cores(9, 10) == [1]
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    assert local.default_jobs() == 2
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,5,7")
    assert local.visible_gpus() == ["2", "5", "7"] and local.default_jobs() == 3
