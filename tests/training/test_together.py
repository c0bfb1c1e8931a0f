"""Runs trained together under `vmap` against the same runs trained one by one."""

import json
import shutil

import jax
import numpy as np
import pandas as pd
import pytest
from tiny import tiny_shapes

import resseg
from resseg import runs
from resseg.config.structure import check_together
from resseg.data.pipeline import TrainLoader
from resseg.errors import UserError
from resseg.runs import layout
from resseg.training import compilations
from resseg.training import run as train
from resseg.training import together as vectorized
from resseg.training.program import Programs
from tests.conftest import QUICKSTART

STEPS = 4
# Numbers of every kind: of forks, of the random stream, of the optimizer, of schedules.
VARIANTS = (
    {},
    {"seed": 1, "model.gradient.shortcut": 0.5, "optim.weight_decay": 0.1},
    {
        "model.shortcut.rate": 0.2,
        "model.branch.scale": {"linear": [0.2, 1.0, 0, 3]},
        "optim.learning_rate": 0.002,
        "optim.schedule": "poly",
        "optim.clip_norm": 0.5,
    },
)


@pytest.fixture(scope="module")
def overrides(tmp_path_factory):
    """A network of two stages, one of them with dropout on its shortcut."""
    return {
        **tiny_shapes(tmp_path_factory.mktemp("data")),
        "model.backbone.width": 8,
        "model.backbone.stage_sizes": (2, 1),
        "model.backbone.stage_strides": (2, 2),
        "model.backbone.output_stride": 4,
        "model.shortcut.kind": "dropout",
        "optim.name": "sgd",
        "optim.learning_rate": 0.01,
        "optim.clip_norm": 5.0,
        "optim.ema": 0.5,
        "train.steps": STEPS,
        "checkpoint.every": 2,
        "checkpoint.keep_every": 1,
        "eval.every": 2,
        "eval.predictions": 1,
        "log.every": 1,
        "mesh.data": 1,
    }


@pytest.fixture(scope="module")
def programs():
    return Programs()


@pytest.fixture(scope="module")
def config_of(overrides):
    def load(*more):
        merged = dict(overrides)
        for each in more:
            merged |= each
        return resseg.load_config(QUICKSTART, merged)

    return load


@pytest.fixture(scope="module")
def alone(config_of, programs, tmp_path_factory):
    """The folders of runs that were trained one after another."""
    root = tmp_path_factory.mktemp("alone")
    for i, variant in enumerate(VARIANTS):
        train.train_and_evaluate(config_of(variant), root / str(i), programs)
    return [root / str(i) for i in range(len(VARIANTS))]


def prepare(configs, root, programs):
    return [
        train.prepare(each, root / str(i), programs) for i, each in enumerate(configs)
    ]


@pytest.fixture(scope="module")
def together(config_of, programs, tmp_path_factory):
    """What became of the same runs, trained together."""
    root = tmp_path_factory.mktemp("together")
    configs = [config_of(variant) for variant in VARIANTS]
    return vectorized.train_together(prepare(configs, root, programs), programs)


def assert_close(one, two):
    """Every array to 1e-5 of its own size, or of one where its entries are smaller."""
    assert jax.tree.structure(one) == jax.tree.structure(two)
    others = dict(jax.tree_util.tree_leaves_with_path(two))
    for path, leaf in jax.tree_util.tree_leaves_with_path(one):
        error = np.linalg.norm(np.asarray(leaf, np.float64) - others[path])
        size = np.linalg.norm(leaf) + np.sqrt(np.size(leaf))
        assert error <= 1e-5 * size, jax.tree_util.keystr(path)


def assert_close_rows(one, two):
    """The log of step 1: a ReLU of a number next to 0 may be on in one run alone."""
    for name in ("metrics", "gradients", "blocks"):
        first, second = (
            getattr(run, name).query("step == 1").select_dtypes("number")
            for run in (one, two)
        )
        pd.testing.assert_frame_equal(first, second, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(one.metrics["loss"][0], two.metrics["loss"][0], 1e-5)


def assert_same_run(one, two):
    """Weights and logs of step 1; files, steps and columns of all of it."""
    assert {path.name for path in one.iterdir()} == {
        path.name for path in two.iterdir()
    }
    one, two = resseg.open_run(one), resseg.open_run(two)
    assert one.config == two.config
    assert one.steps == two.steps
    for name in ("metrics", "timing", "gradients", "blocks"):
        first, second = getattr(one, name), getattr(two, name)
        assert first.columns.tolist() == second.columns.tolist()
        keys = [k for k in ("step", "split", "fork", "path", "block") if k in first]
        pd.testing.assert_frame_equal(first[keys], second[keys])
    assert_close(one.variables(1), two.variables(1))
    assert_close_rows(one, two)


@pytest.mark.parametrize("i", range(len(VARIANTS)))
def test_a_slice_is_the_run_that_is_trained_alone(alone, together, i):
    outcome = together[i]
    assert outcome.message == ""
    assert_same_run(alone[i], outcome.folder)
    assert outcome.scores["step"] == STEPS
    last = resseg.open_run(outcome.folder).metrics.iloc[-1]
    assert outcome.scores["mean_iou"] == last["mean_iou"]


def test_the_variants_are_different_runs(together):
    losses = {
        resseg.open_run(each.folder).metrics["loss"].iloc[-2] for each in together
    }
    assert len(losses) == len(VARIANTS)


def test_a_checkpoint_of_a_slice_holds_its_place_in_the_data(together):
    for each in together:
        saved = each.folder / layout.CHECKPOINTS / str(STEPS) / "position" / "metadata"
        assert json.loads(saved.read_text()) == {"next_batch": STEPS}


def test_another_group_of_the_same_size_compiles_nothing(
    config_of, together, programs, tmp_path
):
    counter = compilations.Counter()
    configs = [config_of({"seed": seed, "train.steps": 1}) for seed in range(5, 8)]
    vectorized.train_together(prepare(configs, tmp_path, programs), programs)
    assert counter.now().train_steps == 0
    assert counter.now().cached == 0


def test_the_clock_says_what_a_slice_gets(together, overrides):
    for each in together:
        timing = resseg.open_run(each.folder).timing
        images = timing["images_per_second"] * timing["seconds_per_step"]
        np.testing.assert_allclose(images, overrides["data.batch_size"])
    clocks = [resseg.open_run(each.folder).timing for each in together]
    pd.testing.assert_frame_equal(clocks[0], clocks[1])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model.backbone.width": 16}, r"model.backbone.width is 8 .* and 16 in num"),
        ({"optim.name": "adamw"}, "optim.name is 'sgd' .* 'adamw' .* shapes the prog"),
        ({"optim.clip_norm": None}, "optim.clip_norm is 5.0 .* None in number 3"),
        ({"train.steps": 5}, "train.steps is 4 .* 5 in number 3; .* step together"),
        ({"log.gradients.every": 2}, "log.gradients.every is 1 in the first .* 2 in"),
        ({"train.on_nonfinite": "rollback"}, "config.train.on_nonfinite='rollback': "),
    ],
)
def test_what_cannot_go_together_is_named(config_of, change, message):
    configs = [config_of(), config_of({"seed": 1}), config_of(change)]
    check_together(configs[:2])
    with pytest.raises(UserError, match=message):
        check_together(configs)


def test_runs_at_different_steps_and_folders_in_use_are_refused(
    config_of, together, programs, tmp_path
):
    copy = shutil.copytree(together[0].folder, tmp_path / "copy")
    assert vectorized.resume_step(copy) == STEPS
    assert vectorized.resume_step(tmp_path / "new") == 0
    configs = [config_of(), config_of({"seed": 1})]
    prepared = [
        train.prepare(config, tmp_path / name, Programs())
        for config, name in zip(configs, ("copy", "new"), strict=True)
    ]
    with pytest.raises(UserError, match=r"copy goes on from step 4, .*new from step 0"):
        vectorized.train_together(prepared, programs)
    with runs.locked(copy), pytest.raises(UserError, match="another process"):
        vectorized.train_together(prepared, programs)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["lock"]


DIVERGING = {"optim.learning_rate": 1e30}


@pytest.mark.bits
def test_a_slice_that_diverges_leaves_the_others_alone(config_of, programs, tmp_path):
    """Bit for bit: it takes the place of a run that does not."""
    groups = []
    for variants in (VARIANTS, (VARIANTS[0], DIVERGING, VARIANTS[2])):
        configs, folder = map(config_of, variants), tmp_path / str(len(groups))
        prepared = prepare(configs, folder, programs)
        groups.append(vectorized.train_together(prepared, programs))
    together, outcomes = groups
    assert [bool(each.message) for each in outcomes] == [False, True, False]
    for i in (0, 2):
        one, two = together[i].folder, outcomes[i].folder
        metrics = [(each / layout.METRICS).read_bytes() for each in (one, two)]
        assert metrics[0] == metrics[1]
        jax.tree.map(
            np.testing.assert_array_equal,
            resseg.open_run(one).variables(STEPS),
            resseg.open_run(two).variables(STEPS),
        )


def test_a_slice_that_diverges_ends_as_it_would_alone(config_of, programs, tmp_path):
    configs = [config_of(), config_of(DIVERGING)]
    _, outcome = vectorized.train_together(
        prepare(configs, tmp_path, programs), programs
    )
    with pytest.raises(train.Diverged) as raised:
        train.train_and_evaluate(configs[1], tmp_path / "alone", programs)
    assert outcome.message.split(":")[0] == str(raised.value).split(":")[0]
    assert "first non-finite gradient at" in outcome.message
    assert outcome.scores is None
    slice_, single = tmp_path / "1", tmp_path / "alone"
    one, two = ({p.name for p in each.iterdir()} for each in (slice_, single))
    assert one == two - {layout.AUTOPSY}  # a group writes none
    one, two = resseg.open_run(slice_), resseg.open_run(single)
    assert one.steps == two.steps
    for name in ("metrics", "gradients", "blocks", "timing"):
        first, second = getattr(one, name), getattr(two, name)
        assert first["step"].tolist() == second["step"].tolist()


def test_where_all_diverge_the_loop_ends(config_of, programs, tmp_path):
    configs = [
        config_of({"optim.learning_rate": 1e30, "seed": seed, "train.steps": 1000})
        for seed in range(2)
    ]
    outcomes = vectorized.train_together(prepare(configs, tmp_path, programs), programs)
    assert all("gradient norm" in each.message for each in outcomes)
    assert resseg.open_run(outcomes[0].folder).metrics["step"].max() < 10


class Interrupted(Exception):
    """Stands for a crash in the middle of the loop."""


def crash_after(batches, monkeypatch):
    draw = TrainLoader.__next__

    def crash(loader):
        if loader.state()["next_batch"] == batches:
            raise Interrupted
        return draw(loader)

    monkeypatch.setattr(TrainLoader, "__next__", crash)


def assert_equal_runs(one, two):
    """Bit for bit: metrics file, gradient rows, weights."""
    assert (one / layout.METRICS).read_bytes() == (two / layout.METRICS).read_bytes()
    one, two = resseg.open_run(one), resseg.open_run(two)
    pd.testing.assert_frame_equal(one.gradients, two.gradients, check_exact=True)
    pd.testing.assert_frame_equal(one.blocks, two.blocks, check_exact=True)
    for step in one.steps:
        jax.tree.map(
            np.testing.assert_array_equal, one.variables(step), two.variables(step)
        )


@pytest.mark.slow
@pytest.mark.bits
def test_an_interrupted_group_goes_on_to_the_same_bits(
    config_of, together, programs, tmp_path, monkeypatch
):
    configs = [config_of(variant) for variant in VARIANTS]
    with monkeypatch.context() as patched:
        crash_after(3, patched)
        with pytest.raises(Interrupted):
            vectorized.train_together(prepare(configs, tmp_path, programs), programs)
    assert {vectorized.resume_step(tmp_path / str(i)) for i in range(3)} == {3}
    outcomes = vectorized.train_together(prepare(configs, tmp_path, programs), programs)
    for one, two in zip(together, outcomes, strict=True):
        assert_equal_runs(one.folder, two.folder)


def test_a_run_begun_together_goes_on_alone_and_the_other_way_round(
    config_of, alone, programs, tmp_path, monkeypatch
):
    configs = [config_of(variant) for variant in VARIANTS[:2]]
    with monkeypatch.context() as patched:
        crash_after(2, patched)
        with pytest.raises(Interrupted):
            vectorized.train_together(
                prepare(configs, tmp_path / "a", programs), programs
            )
        for i, config in enumerate(configs):
            with pytest.raises(Interrupted):
                train.train_and_evaluate(config, tmp_path / "b" / str(i), programs)
    for i, config in enumerate(configs):
        train.train_and_evaluate(config, tmp_path / "a" / str(i), programs)
    vectorized.train_together(prepare(configs, tmp_path / "b", programs), programs)
    for i in range(2):
        for name in ("a", "b"):
            folder = tmp_path / name / str(i)
            assert_same_run(alone[i], folder)


def test_two_devices_share_three_runs(config_of, alone, tmp_path):
    """Two each and one of them twice; no device hears of the slices of another."""
    configs = [config_of(variant, {"mesh.data": 2}) for variant in VARIANTS]
    outcomes = vectorized.train_together(prepare(configs, tmp_path, Programs()))
    for folder, outcome in zip(alone, outcomes, strict=True):
        one, two = resseg.open_run(folder), resseg.open_run(outcome.folder)
        assert_close(one.variables(1), two.variables(1))
        assert_close_rows(one, two)
