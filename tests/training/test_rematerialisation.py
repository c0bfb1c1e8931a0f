"""What saves memory changes no number: rematerialisation and gradient accumulation."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from resseg import sharding
from resseg.config.load import load_config
from resseg.data import VOID, DatasetSpec
from resseg.gradients.measure import by_taps
from resseg.models.ops.choice import Formulation, formulation
from resseg.training import accumulation
from resseg.training.program import Programs

SPEC = DatasetSpec("random", ("a", "b", "c"), {})
KEYS = {
    "data.crop": (32, 32),
    "data.batch_size": 8,
    "model.backbone.depth": 10,
    "model.backbone.width": 4,
    "model.backbone.stage_sizes": (1, 1),
    "model.backbone.stage_strides": (1, 2),
    "model.head.name": "fcn",
    "model.gradient.shortcut": 0.5,
    "model.norm": "group",
    "optim.name": "sgd",
    "optim.clip_norm": 1.0,
}


def batch():
    draw = np.random.default_rng(0)
    label = draw.integers(0, 3, (8, 32, 32)).astype(np.int32)
    label[:3, :20] = VOID  # parts differ in their valid pixels
    label[5] = VOID
    return {
        "image": draw.normal(size=(8, 32, 32, 3)).astype(np.float32),
        "label": label,
    }


@functools.cache
def stepped(**keys):
    """State and log after a step of the program of a config."""
    config = load_config("base", KEYS | {k.replace("__", "."): keys[k] for k in keys})
    mesh = sharding.make_mesh(config.mesh.data)
    program = Programs()(config, SPEC, mesh)
    put = sharding.put_batch(batch(), sharding.by_batch(mesh))
    arguments = program.begin(config), put, jax.random.key(0)
    traced = jax.jit(program.train_step).trace(*arguments)
    after, log = traced.lower().compile()(*arguments)
    jaxpr = str(traced.jaxpr)
    return jax.device_get(after), jax.device_get(log), jaxpr


def assert_equal(found, expected, tolerance):
    """State and log; each array against its own largest number."""
    for one, other in zip(found[:2], expected[:2], strict=True):
        pairs = zip(
            jax.tree_util.tree_leaves_with_path(one),
            jax.tree.leaves(other),
            strict=True,
        )
        for (path, a), b in pairs:
            difference = np.abs(np.asarray(a, np.float64) - b).max(initial=0)
            bound = tolerance * np.abs(b).max(initial=0) + 1e-7
            assert difference <= bound, jax.tree_util.keystr(path)


def test_what_is_computed_again_is_the_same():
    plain, saved = stepped(), stepped(train__remat="stages")
    assert plain[1]["joins"].keys() == saved[1]["joins"].keys() != set()
    assert_equal(saved, plain, 1e-4)
    assert "remat" not in plain[2] and saved[2].count("policy=None") == 2


def test_parts_of_blocks_that_are_computed_again_add_up_to_the_batch():
    added = stepped(train__accumulate=2, train__remat="blocks")
    assert_equal(added, stepped(), 1e-4)
    np.testing.assert_array_equal(added[1]["confusion"], stepped()[1]["confusion"])
    assert added[1]["scalars"]["loss_pixels"] == (batch()["label"] != VOID).sum()
    assert added[2].count("policy=None") == 2 * 2


def test_images_add_up_in_a_loop_one_of_them_void(monkeypatch):
    """On an accelerator parts are a loop."""
    plain = stepped()
    monkeypatch.setattr(accumulation.jax, "default_backend", lambda: "another")
    with formulation(Formulation.CPU):
        found = stepped(train__accumulate=8)
    assert "scan[" in found[2] and "scan[" not in plain[2]
    assert_equal(found, plain, 1e-4)


class State(NamedTuple):
    """What `in_parts` knows of a state."""

    params: jax.Array
    batch_stats: jax.Array

    def replace(self, batch_stats):
        return self._replace(batch_stats=batch_stats)


def test_statistics_move_and_keys_change_from_part_to_part():
    def loss_of(state, batch, key, params, measuring):
        statistics = 0.5 * state.batch_stats + batch["image"].mean()
        terms = {"loss_pixels": (batch["label"] != VOID).sum()}
        drawn = jax.random.uniform(key)
        return params * batch["image"].mean(), (terms, statistics, drawn, {})

    batch = {
        "image": jnp.array([1.0, 2.0, 3.0, 4.0]).reshape(4, 1, 1, 1),
        "label": jnp.array([0, 0, 0, VOID]).reshape(4, 1, 1),
    }
    run = accumulation.in_parts(2, loss_of, by_taps, {})
    key, state = jax.random.key(3), State(jnp.float32(2.0), jnp.float32(8.0))
    (value, (terms, statistics, drawn, _)), gradient, _ = run(state, batch, key)
    each = [jax.random.uniform(jax.random.fold_in(key, part)) for part in (0, 1)]
    assert drawn == pytest.approx(sum(each)) and each[0] != each[1]
    # Images 0 and 2 are the first part, of two valid pixels; 1 and 3 of one.
    assert terms["loss_pixels"] == 3
    assert gradient == pytest.approx(2 / 3 * 2.0 + 1 / 3 * 3.0)
    assert value == pytest.approx(2.0 * gradient)
    assert statistics == 0.5 * (0.5 * 8.0 + 2.0) + 3.0
