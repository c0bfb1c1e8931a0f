"""The log of a step as rows of a run folder."""

import math

import numpy as np
import pytest

from resseg.gradients.fork import TapStatistics
from resseg.runs import RunWriter, open_run, read_metrics
from resseg.training.intervals import Intervals
from resseg.training.recorder import Diverged, Recorder
from tests.fake_run import FORKS

INTERVALS = Intervals(steps=9, line=2, gradients=3, evaluation=0, checkpoint=5, kept=0)
LINES = {"stage1 gradient shortcut": np.array([1, 0, 0, 4], np.float32)}


class Clock:
    """Progress that shows nothing; a second a step."""

    def __init__(self):
        self.shown = []

    def update(self, step, values):
        self.shown.append((step, values["mean_iou"]))
        return {"seconds_per_step": 1.0}


def log_of(loss=1.0, broken=()):
    """A log of equal paths; the backward pass broke in the forks `broken`."""

    def measured(fork):
        taps = np.ones((len(fork.paths) + 1, 3))
        taps[:, 1] = 2.0 * (fork.name in broken)
        return TapStatistics(taps)

    squares = {"stage1": 4.0}
    return {
        "scalars": {
            "loss": np.float32(loss),
            "loss_pixels": np.float32(8),
            "grad_norm": np.float32(2),
            "clip_factor": np.float32(0.5),
        },
        "confusion": np.array([[3, 1], [0, 4]], np.int32),
        "batch_hash": np.uint32(0xAB),
        "forks": {fork.name: measured(fork) for fork in FORKS},
        "joins": {},
        "learned": {"stage1 W_r": np.float32(0.25)},
        "blocks": {"params": squares, "gradients": squares, "updates": squares},
    }


@pytest.fixture
def recorded(tmp_path):
    """`recorded(steps, log)` is the folder to which these steps were recorded."""

    def record(steps, log, lines=LINES, clock=None):
        (tmp_path / "config.json").write_text("{}")
        with RunWriter(tmp_path, tensorboard=False, resume_step=None) as writer:
            recorder = Recorder(writer, INTERVALS, FORKS, lines)
            for step in steps:
                recorder.record(step, log, clock or Clock())
        return tmp_path

    return record


def test_each_kind_of_row_has_its_steps(recorded):
    clock = Clock()
    folder = recorded(range(1, 10), log_of(), clock=clock)
    run = open_run(folder)
    splits = {
        split: rows["step"].tolist() for split, rows in run.metrics.groupby("split")
    }
    assert splits == {"train": [2, 4, 6, 8, 9], "coefficients": [2, 4, 6, 8, 9]}
    assert run.timing["step"].tolist() == [2, 4, 6, 8, 9]
    assert sorted(set(run.gradients["step"])) == [3, 6, 9]
    assert run.blocks["step"].tolist() == [3, 6, 9]
    iou = (3 / 4 + 4 / 5) / 2
    assert clock.shown == [(step, pytest.approx(iou)) for step in (2, 4, 6, 8, 9)]
    assert (run.gradients["loss_pixels"] == 8).all()
    assert (run.gradients["clip_factor"] == 0.5).all()


def test_coefficients_are_those_that_were_in_force_in_the_step(recorded):
    """The first step computes with the value at step 0."""
    rows = read_metrics(recorded((2, 4, 6), log_of()))
    moving = [row for row in rows if row["split"] == "coefficients"]
    assert [row["stage1 gradient shortcut"] for row in moving] == [0.75, 0.25, 0.0]
    assert [row["stage1 W_r"] for row in moving] == [0.25] * 3


def test_what_does_not_move_has_no_row(recorded):
    rows = read_metrics(recorded((2,), log_of() | {"learned": {}}, lines={}))
    assert [row["split"] for row in rows] == ["train"]


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_is_written_down_and_named(recorded, tmp_path, value):
    broken = ("stage2/block1", "stage1/block1")
    with pytest.raises(Diverged, match="first non-finite gradient at stage2/block1"):
        recorded((1,), log_of(value, broken))
    (row, _) = read_metrics(tmp_path)  # though no line is due after step 1
    assert row["step"] == 1 and not math.isfinite(row["loss"])


def test_without_measurements_no_fork_is_named(recorded):
    with pytest.raises(Diverged) as raised:
        recorded((1,), log_of(math.nan) | {"forks": {}})
    assert str(raised.value) == (
        "step 1: loss nan, gradient norm 2.0; nothing after the last checkpoint is kept"
    )
