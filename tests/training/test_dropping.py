"""A batch that is not finite leaves no trace: `train.on_nonfinite`."""

import functools
import json
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from tiny import tiny_shapes

import resseg
from resseg.cli.main import main
from resseg.data import pipeline
from resseg.data.records import Source
from resseg.errors import UserError
from resseg.runs import layout
from resseg.runs.dropped import Dropped, read_dropped
from resseg.runs.unread import read_unread
from resseg.training import autopsy
from resseg.training import run as train
from resseg.training.dropping import MOST, Dropping, RolledBack
from resseg.training.guard import (
    ROLLBACK,
    SKIP,
    STOP,
    by_branch,
    by_choice,
    only_if_finite,
)
from resseg.training.program import Programs

STEPS = 6
POISONED = (1, 3)  # numbers of batches; the second is met right after a checkpoint


class SharedPrograms(Programs):
    """One evaluation for all: to compile is most of the time."""

    def __call__(self, config, spec, mesh):
        program = super().__call__(config, spec, mesh)
        program.evaluation = next(iter(self._made.values())).evaluation
        return program


@pytest.fixture(scope="module")
def programs():
    return SharedPrograms()


@pytest.fixture(scope="module")
def config_of(tmp_path_factory):
    overrides = {
        **tiny_shapes(tmp_path_factory.mktemp("data")),
        "model.backbone.width": 8,
        "model.backbone.stage_sizes": (1, 1),
        "model.backbone.stage_strides": (2, 2),
        "model.backbone.output_stride": 4,
        "model.head.name": "fcn",
        "model.gradient.shortcut": '{"stage1": {"linear": [1.0, 0.0, 0, 6]}}',
        "train.steps": STEPS,
        "checkpoint.every": 2,
        "checkpoint.keep_every": 2,
        "eval.predictions": 0,
        "log.every": 1,
        "mesh.data": 1,
        "optim.ema": 0.9,
    }
    return lambda **keys: resseg.load_config("quickstart", overrides | keys)


def keys_of(mode):
    return {"train.on_nonfinite": mode}


def data_that(change, draw=pipeline.TrainLoader._draw):
    """Data as `change(number, batch)` makes it; a batch that becomes None is none."""

    def changed(loader):
        while (made := change(loader.number + 1, draw(loader))) is None:
            pass
        return made

    return changed


@pytest.fixture
def data_with(monkeypatch):
    """`data_with(change)`: see `data_that`."""
    return lambda change: monkeypatch.setattr(
        pipeline.TrainLoader, "_draw", data_that(change)
    )


def without(number, batch):
    return None if number in POISONED else batch


def poisoned(number, batch):
    if number in POISONED:
        batch["image"][-1, 0, 0, 0] = np.nan
    return batch


def assert_equal_runs(one, two):
    """All that two runs left behind, bit for bit."""
    assert (one / layout.METRICS).read_bytes() == (two / layout.METRICS).read_bytes()
    one, two = resseg.open_run(one), resseg.open_run(two)
    pd.testing.assert_frame_equal(one.gradients, two.gradients, check_exact=True)
    pd.testing.assert_frame_equal(one.blocks, two.blocks, check_exact=True)
    assert one.steps == two.steps == [2, 4, 6]
    for step in one.steps:
        jax.tree.map(
            np.testing.assert_array_equal, one.variables(step), two.variables(step)
        )


@pytest.fixture(scope="module")
def never_held(config_of, programs, tmp_path_factory):
    """`never_held(mode)` is a run whose data never held the batches; it drops none."""

    @functools.cache
    def trained(mode):
        folder = tmp_path_factory.mktemp("runs") / mode
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(pipeline.TrainLoader, "_draw", data_that(without))
            config = config_of(**keys_of(mode))
            train.train_and_evaluate(config, folder, programs)
        assert read_dropped(folder) == []
        return folder

    return lambda mode: trained(STOP if mode == ROLLBACK else mode)  # the same step


class Interrupted(Exception):
    """Stands for a kill."""


def killed_at(after):
    """The poisoned data, up to a batch at which the run is killed."""

    def change(number, batch):
        if number == after:
            raise Interrupted
        return poisoned(number, batch)

    return change


def cases():
    """Modes, and the batch at which a run is killed; None = not at all."""
    for mode in (SKIP, ROLLBACK):
        for after in (5, 2, None):
            marks = [] if after == 5 else pytest.mark.slow
            yield pytest.param(mode, after, marks=marks)


@pytest.mark.parametrize(("mode", "after"), list(cases()))
def test_a_poisoned_batch_leaves_no_trace(
    config_of, programs, never_held, data_with, tmp_path, capsys, mode, after
):
    config, folder = config_of(**keys_of(mode)), tmp_path / "run"
    if after is not None:
        data_with(killed_at(after))
        with pytest.raises(Interrupted):
            train.train_and_evaluate(config, folder, programs)
    data_with(poisoned)
    train.train_and_evaluate(config, folder, programs)
    assert_equal_runs(folder, never_held(mode))
    first, second = read_dropped(folder)
    assert first[:2] == (1, 2) and second[:2] == (3, 3)
    assert first.reason.startswith("loss nan, gradient norm nan; first non-finite grad")
    said = capsys.readouterr().out
    assert said.count(f"step 3: batch 3 is dropped: {second.reason}\n") == 1
    assert f"dropped        2 batches: {folder / layout.DROPPED}" in said


def test_a_run_that_stopped_says_why_and_goes_on_without_the_batch(
    config_of, programs, never_held, data_with, tmp_path, monkeypatch, capsys
):
    data_with(poisoned)
    folder = tmp_path / "run"
    with pytest.raises(train.Diverged, match="step 2: loss nan") as stopped:
        train.train_and_evaluate(config_of(), folder, programs)
    first = "image 3 of the batch: 1 NaN of 3,072 entries"
    assert str(stopped.value).endswith(
        f"; autopsy: {first} ({folder / 'autopsy' / 'autopsy.md'})"
    )
    assert f"**First: {first}**" in (folder / "autopsy" / "autopsy.md").read_text()
    facts = json.loads((folder / "autopsy" / "autopsy.json").read_text())
    assert (facts["step"], facts["batch"]) == (2, 1)

    monkeypatch.setattr(autopsy, "Programs", lambda: programs)
    assert main(["autopsy", str(folder)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert f"first: {first}" in lines and not lines[-1].startswith("when it stopped")

    assert read_dropped(folder) == []
    train.train_and_evaluate(config_of(**keys_of(ROLLBACK)), folder, programs)
    assert_equal_runs(folder, never_held(STOP))


def test_a_run_goes_on_without_an_image_and_says_so(
    config_of, programs, tmp_path, monkeypatch, capsys
):
    read = Source._read

    def damaged(source, index):
        if (source.split, index) == ("train", 5):
            raise UserError("train.array_record: damaged")
        return read(source, index)

    monkeypatch.setattr(Source, "_read", damaged)
    config, folder = config_of(**{"data.on_error": "skip"}), tmp_path / "run"
    train.train_and_evaluate(config, folder, programs)
    said = capsys.readouterr().out
    line = "image 5 is replaced by the next: train.array_record: damaged\n"
    assert said.count(line) == 1
    file = folder / layout.UNREAD
    assert f"replaced       1 images that cannot be read: {file}\n" in said
    assert read_unread(folder) == {5: "train.array_record: damaged"}
    config = config_of(**{"data.on_error": "stop"})
    with pytest.raises(UserError, match=r"^train\.array_record: damaged"):
        train.train_and_evaluate(config, tmp_path / "other", programs)


def log_of(loss=1.0, norm=1.0, update=1.0):
    scalars = {"loss": np.float32(loss), "grad_norm": np.float32(norm)}
    return {"scalars": scalars, "blocks": {"updates": {"a": np.float32(update)}}}


@pytest.fixture
def dropping(tmp_path):
    """`dropping(mode)`, and what its writer and `say` were called with."""
    called = []
    writer = SimpleNamespace(write_count=lambda _, *given: called.append(given))
    return lambda mode: Dropping(tmp_path, mode, writer, called.append), called


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_loss_gradient_and_update_have_to_be_finite(dropping, wrong):
    make, _ = dropping
    for size in ("loss", "norm", "update"):
        log = log_of(**{size: wrong})
        assert [make(mode).is_due(log) for mode in (STOP, SKIP, ROLLBACK)] == [
            *(False, True, True)
        ]
    assert not make(SKIP).is_due(log_of())


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_the_device_keeps_the_state_by_loss_and_gradient(wrong):
    kept = jax.jit(lambda loss, norm: only_if_finite(loss, norm, lambda: 3, 7))
    assert [kept(wrong, 2.0), kept(1.0, wrong), kept(1.0, 2.0)] == [7, 7, 3]


@pytest.mark.parametrize("way", [by_branch, by_choice])
def test_a_branch_and_a_choice_give_the_same(way):
    after = {"step": jnp.int32(4), "weight": jnp.array([np.nan, 2.0])}
    before = {"step": jnp.int32(3), "weight": jnp.array([-0.0, 1.0])}
    chosen = jax.jit(lambda finite, new, old: way(finite, lambda: new, old))
    jax.tree.map(np.testing.assert_array_equal, chosen(True, after, before), after)
    kept = chosen(False, after, before)
    jax.tree.map(np.testing.assert_array_equal, kept, before)
    assert np.signbit(kept["weight"][0])


def test_what_no_batch_survives_is_not_the_data(dropping, tmp_path):
    make, called = dropping
    make(SKIP).drop(3, log_of(np.nan), 2, "loss nan")
    assert called == ["step 3: batch 2 is dropped: loss nan", (2, 1)]
    for batch in range(4, 3 + MOST):
        make(SKIP).drop(5, log_of(np.inf), batch, "loss inf")
    assert called[-1] == (4, MOST)
    message = (
        "step 5: none of 10 batches made it, so it is not them; the last, 13: loss"
    )
    with pytest.raises(train.Diverged, match=message):
        make(SKIP).drop(5, log_of(np.inf), 3 + MOST, "loss inf")
    assert read_dropped(tmp_path) == [Dropped(batch=2, step=3, reason="loss nan")]


@pytest.mark.parametrize(
    ("mode", "size"), [(ROLLBACK, "loss"), (ROLLBACK, "norm"), (SKIP, "update")]
)
def test_a_harmed_state_is_left_once_the_batch_is_known(dropping, tmp_path, mode, size):
    make, called = dropping
    with pytest.raises(RolledBack):
        make(mode).drop(3, log_of(**{size: np.nan}), 2, "loss nan")
    assert read_dropped(tmp_path) == [(2, 3, "loss nan")] and len(called) == 1


def test_a_run_without_an_autopsy_is_one_line(fake_run, tmp_path, capsys):
    fake_run(tmp_path / "run")
    assert main(["autopsy", str(tmp_path / "run")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "no autopsy in it; a training writes one where" in line
