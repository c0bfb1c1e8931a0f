"""A blueprint: one trace, and everything that a run, a probe or a table asks of it."""

import contextlib

import flax.linen as nn
import jax
import numpy as np
import pytest
from flax.traverse_util import flatten_dict

import resseg
from resseg.blueprint.blueprint import Blueprint
from resseg.config.load import load_config
from resseg.models.network import SegmentationNetwork
from resseg.training import run as train
from resseg.training.prepare import prepare
from resseg.training.program import Programs

SMALL = {
    "model.backbone.depth": 10,
    "model.backbone.width": 8,
    "model.aux.weight": 0.4,
    "data.crop": (32, 64),
}


def blueprint(overrides, **arguments):
    config = load_config("base", SMALL | overrides)
    return config, Blueprint.of(config, 3, **arguments)


@pytest.fixture
def traces():
    """Grows by one each time that a network is traced."""
    seen = []

    def count(call, args, kwargs, context):
        if (
            isinstance(context.module, SegmentationNetwork)
            and context.method_name == "__call__"
        ):
            seen.append(context.module)
        return call(*args, **kwargs)

    with nn.intercept_methods(count):
        yield seen


def test_a_run_traces_its_network_once_before_its_step(tiny_config, tmp_path, traces):
    programs = Programs()

    def begin(config, name):
        prepared = prepare(config, tmp_path / name, programs)
        with contextlib.ExitStack() as held:
            train.begin(prepared, prepared.program(programs), held)  # draws weights

    begin(tiny_config, "first")
    assert len(traces) == 1
    # Another run of the structure needs none, whatever its coefficients.
    with tiny_config.unlocked():
        tiny_config.model.gradient.shortcut = 0.5
    begin(tiny_config, "second")
    assert len(traces) == 1


def test_all_that_is_asked_of_a_blueprint_is_one_trace(traces):
    config, plan = blueprint({})
    description = plan.description
    assert (description.params, description.macs) == (plan.params, plan.macs)
    assert description.title == plan.title
    assert [fork.shape[0] for fork in plan.forks(4)] == [4] * description.forks
    assert (
        flatten_dict(plan.zero_taps()).keys()
        == flatten_dict(dict(plan.variables["taps"])).keys()
    )
    jax.eval_shape(plan.drawing(), jax.random.key(0))
    plan.lines(config), plan.paths(config)
    assert len(traces) == 1


@pytest.mark.parametrize(
    "overrides",
    [
        {"model.norm": "none", "model.branch.init": "fixup"},
        {"model.branch.learn": "channel", "model.branch.scale": 0.3},
        {"model.shortcut.kind": "gate_shortcut", "model.shortcut.gate_bias": -3.0},
    ],
)
def test_weights_are_drawn_as_by_init_bit_for_bit(overrides):
    small = {
        "model.head.name": "resunet",
        "model.backbone.stage_sizes": (1, 2),
        "model.backbone.stage_strides": (1, 2),
    }
    config, plan = blueprint(overrides | small)
    options = {"xla_backend_optimization_level": 1}
    model, key = resseg.build_model(config, 3), jax.random.key(7)
    images = np.zeros((1, 32, 64, 3), np.float32)
    expected = jax.jit(model.init, compiler_options=options)(key, images)
    drawn = jax.jit(plan.drawing(), compiler_options=options)(key)
    assert sorted(drawn) == ["batch_stats", "params"]
    for name, tree in drawn.items():
        theirs = expected.get(name, {})
        jax.tree.map(np.testing.assert_array_equal, tree, theirs)
        assert jax.tree.structure(tree) == jax.tree.structure(theirs)


@pytest.mark.parametrize("head", ["unet", "deeplabv3plus", "fcn8s"])
def test_paths_are_those_of_the_network_whatever_the_coefficients(head):
    """The way deeper at a long skip is no coefficient: 1 with every config."""
    _, plan = blueprint({"model.head.name": head})
    other, own = blueprint(
        {
            "model.head.name": head,
            "model.shortcut.kind": "constant",
            "model.shortcut.scale": 0.5,
            "model.branch.scale": (0.1, 0.2, 0.3, 0.4),
            "model.gradient.shortcut": '{"linear": [1.0, 0.0, 10, 20]}',
            "model.gradient.aux": 0.7,
        }
    )
    images = jax.ShapeDtypeStruct((1, 32, 64, 3), np.float32)
    model = resseg.build_model(other, 3)
    paths, lines = flatten_dict(plan.paths(other)), flatten_dict(plan.lines(other))
    assert paths == flatten_dict(own.trace.paths())
    shapes = jax.eval_shape(model.init, jax.random.key(0), images)["paths"]
    assert paths.keys() == lines.keys() == flatten_dict(dict(shapes)).keys()
    deeper = [path for path in paths if path[-1] == "deeper"]
    assert len(deeper) == 1 + {"unet": 4, "deeplabv3plus": 1, "fcn8s": 2}[head]
    for path in deeper:
        assert paths[path] == 1.0
        np.testing.assert_array_equal(lines[path], [1, 1, 0, 0])
    block = ("backbone", "stage2", "block1")
    assert paths[*block, "shortcut_factor", "factor"] == np.float32(0.5)
    assert paths[*block, "branch_factor", "factor"] == np.float32(0.2)
    np.testing.assert_array_equal(lines[*block, "fork", "shortcut"], [1, 0, 10, 20])
    assert paths["backbone", "auxiliary_stage3", "aux"] == np.float32(0.7)


def test_another_size_is_a_trace_of_its_own():
    _, plan = blueprint({}, size=(64, 128))
    _, crop = blueprint({})
    assert plan.image_shape == (1, 64, 128, 3)
    assert plan.macs == 4 * crop.macs and plan.params == crop.params
