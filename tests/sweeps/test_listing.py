"""`resseg runs`: state, progress and best score of each run in a folder."""

import json
import os
import time

import pytest
from fake_sweeps import KIND, attempt, begin, config, finish, write_sweep

from resseg import runs
from resseg.cli.main import main
from resseg.cli.runs import age
from resseg.errors import UserError
from resseg.runs import layout, write_json
from resseg.runs.json_files import encode
from resseg.runs.ledger import Ledger
from resseg.sweeps.listing import list_runs


def write(plan, run, step, *scores):
    with begin(run, plan) as writer:
        for position, score in enumerate(scores):
            writer.write_metrics(position + 1, "val", {"mean_iou": score})
        writer.write_metrics(step, "train", {"loss": 1.0, "mean_iou": 0.9})


@pytest.fixture
def plan(tmp_path):
    wanted = [(f"r{seed}", {KIND: "none", "seed": seed}) for seed in range(6)]
    return write_sweep(tmp_path / "sweep", wanted)


def test_the_runs_of_a_sweep(plan):
    done, failed, cut, preempted, running, waiting = plan.runs
    finish(done, plan, 0.5)
    write(plan, failed, 4, 0.2, 0.4, float("nan"), 0.3)
    attempt(failed, "failed")
    write(plan, cut, 3)
    attempt(cut, None)
    write(plan, preempted, 5, float("nan"))
    attempt(preempted, "failed", "preempted")
    write(plan, running, 6)
    attempt(running, "failed", None)
    with runs.claimed(running.folder):
        listed = list_runs(plan.folder)
    assert [(run.id, run.status, run.step, run.steps) for run in listed] == [
        ("r0", "finished", 10, 10),
        ("r1", "failed", 4, 10),
        ("r2", "broken off", 3, 10),
        ("r3", "preempted", 5, 10),
        ("r4", "running", 6, 10),
        ("r5", "waiting", 0, 10),
    ]
    assert [(run.best, run.best_step) for run in listed] == [
        *((0.5, 10), (0.4, 2), (None, None), (None, None), (None, None), (None, None))
    ]
    assert listed[1].message == "ValueError: it broke"
    assert listed[1].overrides == {KIND: "none", "seed": 1}
    assert listed[5].age is None and waiting.folder.exists() is False


def test_age_is_that_of_the_last_write(plan):
    write(plan, plan.runs[0], 4)
    now = time.time()
    for file in plan.runs[0].folder.iterdir():
        os.utime(file, (now - 900, now - 900))
    os.utime(plan.runs[0].folder / layout.TIMING, (now - 300, now - 300))
    (plan.runs[0].folder / layout.LOCK).write_text("")  # anybody may touch it
    (run, *_) = list_runs(plan.folder)
    assert run.age == pytest.approx(300, abs=30)


def plain_run(folder, step, *, score=None, **overrides):
    folder.mkdir(parents=True)
    write_json(folder / layout.CONFIG, config(overrides))
    rows = [{"step": step, "split": "train", "loss": 1.0}]
    if score is not None:
        rows.append({"step": step, "split": "val", "mean_iou": score})
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / layout.METRICS).write_text(lines)


def test_runs_outside_of_sweeps(tmp_path):
    plain_run(tmp_path / "a", 10, score=0.5)
    plain_run(tmp_path / "b", 7, score=0.25, **{KIND: "none", "data.crop": (32, 32)})
    plain_run(tmp_path / "c", 7, seed=3)
    (tmp_path / "other").mkdir()
    with runs.locked(tmp_path / "c"):
        listed = list_runs(tmp_path)
    assert [(run.id, run.status) for run in listed] == [
        ("a", "finished"),
        ("b", "stopped"),
        ("c", "running"),
    ]
    assert listed[0].overrides == {}
    assert listed[1].overrides == {KIND: "none", "data.crop": [32, 32]}
    assert (listed[1].best, listed[1].best_step, listed[1].step) == (0.25, 7, 7)
    assert listed[2].overrides == {"seed": 3}
    (alone,) = list_runs(tmp_path / "b")
    assert (alone.id, alone.status, alone.overrides) == ("b", "stopped", {})


def test_a_damaged_run_hides_no_other(plan, tmp_path):
    finish(plan.runs[0], plan, 0.5)
    plan.runs[1].folder.mkdir()
    (plan.runs[1].folder / layout.METRICS).write_text("{]\n")
    listed = list_runs(plan.folder)
    assert [run.status for run in listed[:3]] == ["finished", "damaged", "waiting"]
    assert "metrics.jsonl, line 1: not JSON" in listed[1].message
    plain_run(tmp_path / "more" / "a", 3)
    (tmp_path / "more" / "b").mkdir()
    (tmp_path / "more" / "b" / layout.CONFIG).write_text("{")
    (tmp_path / "more" / "c").mkdir()
    (tmp_path / "more" / "c" / layout.CONFIG).write_text("{}")
    listed = list_runs(tmp_path / "more")
    assert [run.status for run in listed] == ["stopped", "damaged", "damaged"]
    assert listed[2].message == "no 'train.steps'"


def test_the_command(plan, capsys):
    finish(plan.runs[0], plan, 0.5)
    write(plan, plan.runs[1], 4, 0.25)
    attempt(plan.runs[1], "failed")
    assert main(["runs", str(plan.folder)]) == 0
    header, first, second, *_ = capsys.readouterr().out.splitlines()
    assert " ".join(header.split()) == "id status step best mIoU at step age time what"
    assert first.split()[:5] == ["r0", "finished", "10/10", "0.5000", "10"]
    assert second.split()[:5] == ["r1", "failed", "4/10", "0.2500", "1"]
    assert second.rstrip().endswith(
        "model.shortcut.kind=none seed=1: ValueError: it broke"
    )
    assert main(["runs", str(plan.folder), "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert len(listed) == 6
    assert listed[1] | {"age": 0} == {
        "id": "r1",
        "status": "failed",
        "step": 4,
        "steps": 10,
        "best": 0.25,
        "best_step": 1,
        "age": 0,
        "overrides": {KIND: "none", "seed": 1},
        "message": "ValueError: it broke",
        "seconds": None,
        "spent": None,
    }


def test_where_the_time_of_a_run_went(tmp_path, capsys):
    plain_run(tmp_path / "a", 3)
    ledger = Ledger(1000.0, 1200.0, {"wait": 150.0, "evaluate": 50.0})
    with open(tmp_path / "a" / layout.TIMING, "a") as file:
        file.write(encode({"step": 3, **ledger.row()}) + "\n")
    assert main(["runs", str(tmp_path)]) == 0
    assert "3 min, wait 75%" in capsys.readouterr().out
    (listed,) = list_runs(tmp_path)
    assert (listed.seconds, listed.spent) == (200.0, ledger.spent)


def test_ages_in_words():
    seconds = (None, 0.2, 59, 60, 7300, 86400 * 3 + 5)
    words = ["-", "0 s", "59 s", "1 min", "2 h", "3 d"]
    assert [age(each) for each in seconds] == words


@pytest.mark.parametrize("what", ["missing", "file", "empty"])
def test_no_runs_is_one_line(tmp_path, what, capsys):
    (tmp_path / "file").write_text("")
    (tmp_path / "empty").mkdir()
    says = {"missing": "does not exist", "file": "is a file", "empty": "holds no runs"}
    with pytest.raises(UserError, match=says[what]):
        list_runs(tmp_path / what)
    assert main(["runs", str(tmp_path / what)]) == 2
    assert capsys.readouterr().err.count("\n") == 1
