"""Freezing, sharpness-aware minimisation and averages, in whole train steps."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from resseg import sharding
from resseg.config.load import load_config
from resseg.data import DatasetSpec
from resseg.errors import UserError
from resseg.training import sharpness
from resseg.training.program import Programs

SPEC = DatasetSpec("random", ("a", "b", "c"), {})
KEYS = {
    "data.crop": (16, 16),
    "data.batch_size": 4,
    "model.backbone.depth": 10,
    "model.backbone.width": 4,
    "model.backbone.stage_sizes": (1, 1),
    "model.backbone.stage_strides": (1, 2),
    "model.head.name": "fcn",
    "optim.learning_rate": 0.05,
    "optim.schedule": "constant",
}


def batch(seed):
    draw = np.random.default_rng(seed)
    return {
        "image": draw.normal(size=(4, 16, 16, 3)).astype(np.float32),
        "label": draw.integers(0, 3, (4, 16, 16)).astype(np.int32),
    }


class State(NamedTuple):
    """What `aware` knows of a state."""

    params: Any
    numbers: Any

    def replace(self, params):
        return self._replace(params=params)


def test_the_gradient_is_that_of_the_worst_weights_nearby():
    """Of ½ wᵀ A w, by hand; the first pass says the loss, the second what is seen."""
    matrix = np.array([[2.0, 0.5], [0.5, 1.0]], np.float32)

    def gradient_of(name):
        def at(state, batch, key):
            w = state.params["w"]
            aside = ({"loss": name}, f"statistics {name}", "confusion", f"joins {name}")
            return (w @ matrix @ w / 2, aside), {"w": matrix @ w}, f"forks {name}"

        return at

    w = np.array([1.0, -3.0], np.float32)
    state = State({"w": jnp.asarray(w)}, {"sam_rho": 0.1})
    aware = sharpness.aware(gradient_of("first"), gradient_of("second"))
    (value, aside), gradients, forks = aware(state, None, None)
    slope = matrix @ w
    there = w + 0.1 * slope / np.linalg.norm(slope)
    np.testing.assert_allclose(gradients["w"], matrix @ there, rtol=1e-6)
    assert value == pytest.approx(w @ matrix @ w / 2)
    assert forks == "forks second"
    assert aside == ({"loss": "first"}, "statistics first", "confusion", "joins second")


def trained(**keys):
    """First state, and states and logs after three steps, of one program."""
    overrides = KEYS | {name.replace("__", "."): keys[name] for name in keys}
    config = load_config("base", overrides)
    mesh = sharding.make_mesh(1)
    program = Programs()(config, SPEC, mesh)
    states, logs = [program.begin(config)], []
    step = jax.jit(program.train_step)
    for seed in range(3):
        put = sharding.put_batch(batch(seed), sharding.by_batch(mesh))
        state, log = step(states[-1], put, jax.random.key(0))
        states.append(state)
        logs.append(log)
    return jax.device_get(states), jax.device_get(logs)


def test_frozen_parts_stay_under_muon_sharpness_and_an_average():
    settings = {"optim__name": "muon", "optim__weight_decay": 0.1}
    states, logs = trained(
        optim__freeze=("stem", "stage1"),
        optim__sam_rho=0.5,
        optim__swa_start=2,
        **settings,
    )
    first, last = states[0], states[-1]
    for kind in ("params", "batch_stats"):
        before, after = getattr(first, kind), getattr(last, kind)
        for part in ("stem", "stage1"):
            jax.tree.map(
                np.testing.assert_array_equal,
                after["backbone"][part],
                before["backbone"][part],
            )
        for leaf, old in zip(
            jax.tree.leaves((after["backbone"]["stage2"], after["head"])),
            jax.tree.leaves((before["backbone"]["stage2"], before["head"])),
            strict=True,
        ):
            assert np.any(leaf != old)
    squares = logs[0]["blocks"]["gradients"]
    assert squares["backbone/stage1/block1"] == 0 < squares["backbone/stage2/block1"]
    fork = logs[0]["forks"]["backbone/stage1/block1"]
    assert np.abs(np.asarray(jax.tree.leaves(fork)[0])).max() > 0
    mean = jax.tree.map(lambda a, b: (a + b) / 2, states[2].params, states[3].params)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7),
        last.ema,
        mean,
    )
    assert last.variables()["params"] is last.ema


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        (
            {"optim.freeze": ("stage3",)},
            "config.optim.freeze='stage3': choose from stem, stage1, stage2",
        ),
        ({"optim.ema": 0.9, "optim.swa_start": 2}, "config.optim.swa_start=2: optim.e"),
        ({"optim.swa_start": 300}, "config.optim.swa_start=300: expected a number bel"),
        (
            {"optim.layer_factor": 0.0},
            "config.optim.layer_factor=0.0: expected above 0",
        ),
    ],
)
def test_wrong_settings_are_named(keys, message):
    with pytest.raises(UserError) as error:
        load_config("base", KEYS | keys)
    assert str(error.value).startswith(message)
