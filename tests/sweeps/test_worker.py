"""A worker: what it takes, what it compiles, what it notes of what it did."""

import contextlib
import functools
import signal
import time

import numpy as np
import pytest

from resseg import runs
from resseg.runs import layout
from resseg.sweeps import attempts, worker
from resseg.sweeps.plan import read_plan, write_plan
from resseg.sweeps.study import load_study
from resseg.training import run as train
from resseg.training.stops import STALLED, Stop, Stopped

AXES = '{"model.backbone.width": [4, 8]}'
NUMBERS = """
[{}, {"model.gradient.shortcut": 0.5}, {"model.shortcut.scale": (1, 0.5)},
 {"optim.learning_rate": 1e-2, "optim.schedule": "poly"}]"""


@pytest.fixture
def planned(study, tmp_path):
    """`planned(axes)` is the plan of a study with these axes and two seeds.

    A checkpoint at the end alone: to write one takes longer than the steps.
    """

    def make(axes=AXES):
        text = study.text.replace(AXES, axes)
        return write_plan(load_study(study(text, every=6)), tmp_path / "sweep")

    return make


def hire(plan, **arguments):
    settings = {"retries": 2, "since": 0.0} | arguments
    return worker.Worker(plan, {run.id for run in plan.runs}, **settings)


def words(plan):
    return [run.state().word for run in plan.runs]


def test_eight_numeric_variants_are_one_compiled_train_step(planned, tmp_path):
    plan = planned(NUMBERS)
    assert len(plan.runs) == 8
    assert len({run.structure for run in plan.runs}) == 1
    hire(plan).work()
    assert words(plan) == ["finished"] * 8
    assert all((run.folder / layout.HEATMAP).exists() for run in plan.runs)
    counts = [attempts.list_attempts(run.folder)[0] for run in plan.runs]
    # The first run traced it; it may have come from the cache of an earlier test.
    (first, *others) = [each["compilations"] for each in counts]
    assert first["train_steps"] + first["cached"] >= 1
    assert all(each["programs"] == each["cached"] == 0 for each in others)
    assert all(each["outcome"] == "finished" for each in counts)
    assert all(each["peak_memory"] > 1 << 20 for each in counts)
    # Each is what `resseg train` alone makes of it, bit for bit.
    for run in (plan.runs[2], plan.runs[7]):
        alone = tmp_path / "alone" / run.id
        train.train_and_evaluate(plan.config(run), alone)
        for name in (layout.METRICS, layout.NETWORK, layout.DATASET):
            assert (alone / name).read_bytes() == (run.folder / name).read_bytes()
        mine, other = (runs.open_run(folder) for folder in (alone, run.folder))
        assert mine.gradients.equals(other.gradients)
    rows = [runs.read_metrics(run.folder) for run in plan.runs]
    losses = {[row["loss"] for row in each if "loss" in row][-1] for each in rows}
    assert len(losses) == 8  # and they are different runs


def test_runs_that_differ_in_numbers_alone_may_go_together(planned, tmp_path):
    plan = planned('[{}, {"optim.learning_rate": 1e-2}]')
    hire(plan, together=3).work()
    assert words(plan) == ["finished"] * 4
    assert all((run.folder / layout.HEATMAP).exists() for run in plan.runs)
    notes = [attempts.list_attempts(run.folder) for run in plan.runs]
    assert [[each["together"] for each in note] for note in notes] == [[3]] * 3 + [[1]]
    for run in plan.runs[:2]:
        alone = tmp_path / "alone" / run.id
        train.train_and_evaluate(plan.config(run), alone)
        mine, other = (runs.read_metrics(folder) for folder in (alone, run.folder))
        for row, same in zip(mine, other, strict=True):
            assert row.keys() == same.keys() and row["step"] == same["step"]
        # Batch norm of the last stage is over two pixels here: badly conditioned.
        assert mine[0]["loss"] == pytest.approx(other[0]["loss"], rel=1e-4)


def test_a_run_that_cannot_go_with_others_takes_none_along(planned):
    plan = planned('[{}, {"optim.learning_rate": 1e-2}]')
    bad = plan.runs[1]
    bad.folder.mkdir()
    (bad.folder / layout.CONFIG).write_text("{")
    hire(plan, together=4).work()
    assert words(plan) == ["finished", "failed", "finished", "finished"]
    notes = [attempts.list_attempts(run.folder) for run in plan.runs]
    outcomes = [[each["outcome"] for each in note] for note in notes]
    assert outcomes[0] == ["parted", "finished"]
    assert outcomes[1] == ["parted", "refused"]
    assert "not JSON" in bad.state().message


def test_one_program_after_the_other_and_claimed_runs_are_left(planned, monkeypatch):
    plan = planned()
    order = []
    monkeypatch.setattr(
        worker.Worker,
        "_train",
        lambda self, config, folder: order.append(folder.name),
    )
    monkeypatch.setattr(
        attempts, "is_finished", lambda folder, steps: folder.name in order
    )
    four0, four1, eight0, eight1 = plan.runs
    four0.folder.mkdir()
    with runs.claimed(four0.folder) as ours:
        assert ours
        assert four0.state().word == "running"
        hire(plan).work()
    # Width 4 is being compiled elsewhere, so width 8 comes first; then the rest.
    assert order == [eight0.id, eight1.id, four1.id]
    assert four0.state().word == "waiting"


def test_what_failed_is_tried_again_and_then_given_up(planned, monkeypatch):
    plan = planned()
    bad = plan.runs[1]
    done = []

    def fail(self, config, folder):
        done.append(folder.name)
        if folder.name == bad.id:
            raise RuntimeError("the device is on fire")

    monkeypatch.setattr(worker.Worker, "_train", fail)
    monkeypatch.setattr(
        attempts,
        "is_finished",
        lambda folder, steps: folder.name in done and folder.name != bad.id,
    )
    began = time.time()
    hire(plan, retries=1, since=began).work()
    assert done.count(bad.id) == 2 and len(done) == 5
    state = bad.state(began)
    assert (state.word, state.bad) == ("failed", 2)
    assert state.message == "RuntimeError: the device is on fire"
    assert "on fire" in (bad.folder / layout.LOG).read_text()
    # Another command begins to count anew.
    hire(plan, retries=0, since=time.time()).work()
    assert done.count(bad.id) == 3


def test_a_loss_that_is_not_finite_is_not_tried_again(planned, tmp_path):
    plan = planned('{"optim.learning_rate": [1e30]}')
    began = time.time()
    hire(plan, since=began).work()
    states = [run.state(began) for run in plan.runs]
    assert [(state.word, state.bad, state.final) for state in states] == [
        ("failed", 1, True)
    ] * 2
    assert "nothing after the last checkpoint is kept" in states[0].message


def test_a_killed_attempt_is_broken_off_until_it_is_taken_again(planned):
    plan = planned()
    run = plan.runs[0]
    run.folder.mkdir()
    with contextlib.ExitStack() as held:
        held.enter_context(runs.claimed(run.folder))
        attempts.begin(run.folder)
        assert run.state().word == "running"
    assert (run.state().word, run.state().bad) == ("broken off", 1)
    attempts.end(run.folder, attempts.PREEMPTED)
    assert (run.state().word, run.state().bad) == ("preempted", 0)


def test_a_worker_that_is_asked_to_stop_takes_no_further_run(planned, monkeypatch):
    plan, stop, tried = planned(), Stop(), []

    def ask(self, config, folder):
        tried.append(folder.name)
        stop.ask(signal.SIGTERM)
        raise Stopped(2, 4)

    monkeypatch.setattr(worker.Worker, "_train", ask)
    hire(plan, stop=stop).work()
    first = plan.runs[0]
    assert tried == [first.id]
    assert words(plan) == ["preempted", "waiting", "waiting", "waiting"]
    assert first.state().bad == 0 and "stopped at step 2 of 4" in first.state().message


def test_a_worker_that_may_end_at_once_notes_its_runs_first(planned, monkeypatch):
    """As while it compiles: the thread that hears the signal does it all."""
    plan, statuses = planned(), []
    one = hire(plan)
    one.current = [plan.runs[1]]
    plan.runs[1].folder.mkdir()
    attempts.begin(plan.runs[1].folder)
    monkeypatch.setattr(worker.os, "_exit", statuses.append)
    stop = Stop(functools.partial(worker._leave, [one]))
    stop.ask(signal.SIGTERM)
    assert statuses == [0] and words(plan)[:2] == ["waiting", "preempted"]


def test_a_run_that_stalled_is_tried_again_as_one_that_failed(planned, monkeypatch):
    plan, statuses = planned(), []
    one, run = hire(plan), plan.runs[0]
    one.current = [run]
    run.folder.mkdir()
    attempts.begin(run.folder)
    monkeypatch.setattr(worker.os, "_exit", statuses.append)
    worker._leave([one], STALLED, "stalled: waited 30:00 for a batch")
    assert statuses == [75]
    (noted,) = attempts.list_attempts(run.folder)
    assert noted["outcome"] == "stalled"
    state = run.state()
    assert (state.word, state.bad, state.final) == ("broken off", 1, False)
    assert state.message == "stalled: waited 30:00 for a batch"


def test_a_plan_is_read_as_it_was_written(planned):
    plan = planned(NUMBERS)
    again = read_plan(plan.folder)
    assert again == plan
    assert [run.name for run in again.runs][2:4] == [
        "seed=0 model.gradient.shortcut=0.5",
        "seed=1 model.gradient.shortcut=0.5",
    ]
    assert again.swept[0] == "seed"
    config = again.config(again.runs[4])
    np.testing.assert_array_equal(config.model.shortcut.scale, (1, 0.5))
