"""float16: the scale of the loss is found, taken out again, and kept with the run."""

import functools
import warnings
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from tiny import tiny_shapes

import resseg
from resseg import sharding
from resseg.config.structure import check_together
from resseg.data import DatasetSpec, pipeline
from resseg.errors import UserError
from resseg.runs import layout
from resseg.runs.dropped import read_dropped
from resseg.training import autopsy, scaling
from resseg.training import run as train
from resseg.training.guard import SKIP
from resseg.training.program import Programs

NETWORK = {
    "model.backbone.stem": "3x3",
    "model.backbone.width": 8,
    "model.backbone.stage_sizes": (1, 1),
    "model.backbone.stage_strides": (2, 2),
    "model.backbone.output_stride": 4,
    "model.head.name": "fcn",
    "mesh.data": 1,
}
STEP = NETWORK | {
    "data.crop": (32, 32),
    "data.batch_size": 4,
    "model.norm": "group",
    "model.gradient.shortcut": 0.5,
    "optim.name": "sgd",
}
FLOAT16, TOO_LARGE = {"model.dtype": "float16"}, 2.0**40
SPEC = DatasetSpec("random", ("a", "b", "c"), {})


def random_batch():
    draw = np.random.default_rng(0)
    label = draw.integers(0, 3, (4, 32, 32)).astype(np.int32)
    image = draw.normal(size=(4, 32, 32, 3)).astype(np.float32)
    return sharding.put_batch(
        {"image": image, "label": label}, sharding.by_batch(sharding.make_mesh(1))
    )


@functools.cache
def compiled(items):
    """`state()`, the compiled step, and what XLA says of its memory."""
    config = resseg.load_config("base", STEP | dict(items))
    program = Programs()(config, SPEC, sharding.make_mesh(1))
    begin = functools.partial(program.begin, config)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*donated buffers.*")
        lowered = program.step.lower(begin(), random_batch(), jax.random.key(0))
    step = lowered.compile()
    return begin, step, step.memory_analysis()


def stepped(keys, factor=1.0, start=None):
    """State and log of the first update; the coefficients are multiplied by `factor`.

    With the losses of the steps that it took.
    """
    begin, step, _ = compiled(tuple(keys.items()))
    state, batch, losses = begin(), random_batch(), []
    lines = jax.tree.map(lambda line: line.at[:2].multiply(factor), state.schedules)
    state = state.replace(schedules=lines)
    if start is not None:
        scale = jnp.full_like(state.scaling["scale"], start)
        state = state.replace(scaling=state.scaling | {"scale": scale})
    while True:
        state, log = step(state, batch, jax.random.key(0))
        log = jax.device_get(log)
        losses.append(float(log["scalars"]["loss"]))
        if not scaling.has_overflowed(log):
            return jax.device_get(state), log, losses


def measured(keys, factor=1.0):
    """What a step measures, one float64 `[n]` per kind of number."""
    _, log, _ = stepped(keys, factor)
    squared = float(log["scalars"].get("loss_scale", 1.0)) ** 2
    forks = log["forks"].values()
    squares = [np.append(tap.squares, tap.total_square) for tap in forks]
    inner = [tap.inner for tap in forks if len(tap.squares) == 2]
    numbers = {
        "forks": [each / squared for each in (*squares, *inner)],
        "joins": [join.array for join in log["joins"].values()],
        **{name: [*sums.values()] for name, sums in log["blocks"].items()},
        "scalars": [log["scalars"][name] for name in ("loss", "grad_norm")],
    }
    return {
        name: np.concatenate([np.ravel(np.asarray(a, np.float64)) for a in arrays])
        for name, arrays in numbers.items()
    }


def assert_close(found, expected, tolerance):
    assert found.keys() == expected.keys()
    for name, numbers in found.items():
        bound = tolerance * np.abs(expected[name]).max()
        assert np.abs(numbers - expected[name]).max() <= bound, name


# Where a ReLU is near zero the last bits decide about a gradient.
@pytest.mark.parametrize(
    ("dtype", "tolerance"),
    [("float16", 0.03), pytest.param("bfloat16", 0.1, marks=pytest.mark.slow)],
)
@pytest.mark.parametrize("factor", [1.0, 0.25])
def test_a_step_and_its_ablation_measure_the_same_in_half_precision(
    dtype, tolerance, factor
):
    found, expected = measured({"model.dtype": dtype}, factor), measured({}, factor)
    assert_close(found, expected, tolerance)
    other = measured({}, 1.25 - factor)
    assert np.abs(other["forks"] / expected["forks"] - 1).max() > 0.5


def test_parts_that_are_computed_again_measure_the_same_in_float16():
    keys = FLOAT16 | {"train.accumulate": 2, "train.remat": "blocks"}
    assert_close(measured(keys), measured(FLOAT16), 1e-2)


def test_a_scale_of_two_to_the_n_changes_no_bit_of_a_float32_step():
    (scaled, log, _), (plain, plain_log, _) = (
        stepped(keys) for keys in ({"optim.loss_scale": 1024.0}, {})
    )
    jax.tree.map(np.testing.assert_array_equal, scaled.params, plain.params)
    assert log["scalars"].pop("loss_scale") == 1024.0
    assert log["scalars"] == plain_log["scalars"]
    for name, tap in plain_log["forks"].items():
        squares = log["forks"][name].squares
        np.testing.assert_array_equal(squares, tap.squares * 1024.0**2)


def test_the_state_is_donated_with_its_scale():
    begin, _, memory = compiled(tuple(FLOAT16.items()))
    leaves = jax.tree.leaves(begin())
    assert len(jax.tree.leaves(begin().scaling)) == 3
    assert memory.alias_size_in_bytes == sum(leaf.nbytes for leaf in leaves)


def test_a_gradient_that_overflows_makes_no_update_and_halves_the_scale():
    begin, step, _ = compiled(tuple(FLOAT16.items()))
    before = begin()
    scale = jnp.full_like(before.scaling["scale"], TOO_LARGE)
    before = before.replace(scaling=before.scaling | {"scale": scale})
    kept = jax.device_get(before)
    after, log = step(before, random_batch(), jax.random.key(0))
    assert log["overflowed"] and np.isfinite(log["scalars"]["loss"])
    assert not np.isfinite(log["scalars"]["grad_norm"])
    assert sum(log["blocks"]["updates"].values()) == 0
    assert after.scaling == {"scale": TOO_LARGE / 2, "since": 0, "overflows": 1}
    after = jax.device_get(after).replace(scaling=kept.scaling)
    jax.tree.map(np.testing.assert_array_equal, after, kept)

    found, log, losses = stepped(FLOAT16, start=TOO_LARGE)
    scale, count = float(log["scalars"]["loss_scale"]), len(losses) - 1
    assert scale == TOO_LARGE / 2**count and set(losses) == {losses[0]}
    assert found.scaling == {"scale": scale, "since": 1, "overflows": count}
    assert found.step == 1
    straight, _, _ = stepped(FLOAT16, start=scale)
    jax.tree.map(np.testing.assert_array_equal, found.params, straight.params)


class State(SimpleNamespace):
    def replace(self, **changed):
        return State(**{**vars(self), **changed})


INF, NAN = np.inf, np.nan
NOTED = {
    # Scale, updates since: loss, gradient norm -> both after, whether it overflowed.
    (8.0, 0): {
        (1.0, 1.0): (8.0, 1, False),
        (1.0, INF): (4.0, 0, True),
        (1.0, NAN): (4.0, 0, True),
        (NAN, NAN): (8.0, 0, False),
        (INF, 1.0): (8.0, 0, False),
    },
    (8.0, 2): {
        (1.0, 1.0): (16.0, 0, False),
        (1.0, INF): (4.0, 0, True),
        (NAN, 1.0): (8.0, 2, False),
    },
    (1.5, 1): {(1.0, INF): (1.0, 0, True)},
    (1.0, 1): {(1.0, INF): (1.0, 1, False), (1.0, 0.0): (1.0, 2, False)},
    (2.0**60, 2): {(1.0, 1.0): (2.0**60, 0, False)},
}


@pytest.mark.parametrize(
    ("before", "step", "after"),
    [(b, step, after) for b, steps in NOTED.items() for step, after in steps.items()],
)
def test_the_scale_moves_by_overflows_and_their_absence(before, step, after):
    """Doubled after 3 updates; a loss that is not finite is not its matter."""
    start = dict(zip(("scale", "since"), map(jnp.asarray, before), strict=True))
    start["overflows"] = jnp.asarray(5)
    numbers = {scaling.GROWTH: jnp.asarray(3)}
    scalars = dict(zip(("loss", "grad_norm"), map(jnp.asarray, step), strict=True))
    state = State(scaling=start, numbers=numbers, weight=7)
    found, log = scaling.noted(state, state, {"scalars": scalars})
    scale, since, overflowed = after
    expected = {"scale": scale, "since": since, "overflows": 5 + overflowed}
    assert found.scaling == expected
    assert found.weight == 7 and scaling.has_overflowed(log) == overflowed
    assert log["scalars"]["loss_scale"] == before[0]


def test_runs_whose_scale_moves_do_not_step_together():
    config = resseg.load_config("base", FLOAT16)
    with pytest.raises(UserError, match="do not stay in step"):
        check_together([config, config])
    fixed = resseg.load_config("base", FLOAT16 | {"optim.loss_scale": 1024.0})
    check_together([fixed, fixed])


@pytest.fixture(scope="module")
def run_config(tmp_path_factory):
    keys = tiny_shapes(tmp_path_factory.mktemp("data")) | NETWORK | FLOAT16
    keys |= {
        "train.steps": 6,
        "train.on_nonfinite": SKIP,
        "checkpoint.every": 2,
        "log.every": 1,
        "eval.predictions": 0,
        "optim.loss_scale_start": TOO_LARGE,
        "optim.loss_scale_growth": 2,
        "optim.ema": 0.9,
    }
    return resseg.load_config("quickstart", keys)


class Interrupted(Exception):
    """Stands for a kill."""


def test_a_run_that_is_killed_goes_on_with_its_scale_and_drops_only_what_is_poisoned(
    run_config, tmp_path, monkeypatch, capsys
):
    programs, draw = Programs(), pipeline.TrainLoader._draw

    def drawn(poisoned=(), killed=None):
        def change(loader):
            number, batch = loader.number + 1, draw(loader)
            if number == killed:
                raise Interrupted
            if number in poisoned:
                batch["image"][0, 0, 0, 0] = np.nan
            return batch

        monkeypatch.setattr(pipeline.TrainLoader, "_draw", change)

    def left(name):
        return tmp_path / name, resseg.open_run(tmp_path / name)

    drawn(poisoned=(1, 30))
    train.train_and_evaluate(run_config, tmp_path / "whole", programs)
    said = capsys.readouterr().out
    drawn(poisoned=(1, 30), killed=28)
    with pytest.raises(Interrupted):
        train.train_and_evaluate(run_config, tmp_path / "killed", programs)
    drawn(poisoned=(1, 30))
    train.train_and_evaluate(run_config, tmp_path / "killed", programs)

    (folder, whole), (other, killed) = left("whole"), left("killed")
    assert [each.batch for each in read_dropped(folder)] == [1, 30]
    assert read_dropped(other) == read_dropped(folder)
    rows = whole.metrics[whole.metrics["split"] == "train"]
    scales, counts = rows["loss_scale"], rows["loss_scale_overflows"]
    assert said.count("the gradient overflows at a loss scale of") == counts.iloc[-1]
    assert f"overflows at a loss scale of {TOO_LARGE:g} (1 so far): no update" in said
    # What overflowed before the first update, and what growth and overflows make of it.
    assert list(rows["step"]) == [1, 2, 3, 4, 5, 6] and counts.iloc[0] > 3
    assert scales.iloc[0] == TOO_LARGE / 2 ** counts.iloc[0]
    of_step = whole.gradients.groupby("step")["loss_scale"].unique()
    assert [value.tolist() for value in of_step] == [[scale] for scale in scales]
    assert np.isfinite(whole.gradients["l2"]).all()
    assert (folder / layout.METRICS).read_bytes() == (
        other / layout.METRICS
    ).read_bytes()
    pd.testing.assert_frame_equal(whole.gradients, killed.gradients, check_exact=True)
    for step in whole.steps:
        jax.tree.map(
            np.testing.assert_array_equal, whole.variables(step), killed.variables(step)
        )


class Batches:
    """Three of them, and then one that is not finite."""

    number = -1

    def __next__(self):
        self.number += 1
        return {"image": np.zeros((1, 2, 2, 3), np.float32)}

    def close(self):
        pass


def test_an_autopsy_counts_no_step_whose_gradient_overflowed(monkeypatch, tmp_path):
    logs = [
        {
            "scalars": {"loss": loss, "grad_norm": norm},
            "overflowed": np.bool_(norm == INF),
            "blocks": {"updates": {"a": 1.0}},
            "forks": {},
        }
        for loss, norm in [(1.0, INF), (1.0, 1.0), (1.0, INF), (NAN, NAN)]
    ]
    config = resseg.load_config("base", FLOAT16)
    prepared = SimpleNamespace(
        folder=tmp_path, config=config, mesh=sharding.make_mesh(1), loader=Batches()
    )
    step = lambda state, *_: (state + 1, logs[int(state)])  # noqa: E731
    program = SimpleNamespace(step=step, forks=())
    monkeypatch.setattr(autopsy, "last_state", lambda *_: (jnp.asarray(0), None))
    found = autopsy._find(prepared, program, 2)
    assert (found.number, found.batch, int(found.state)) == (2, 3, 3)
    assert found.said == "loss nan, gradient norm nan"
