"""What is looked for by name is found, or it is an error; nothing falls silent."""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util

import resseg
from resseg.blueprint.trace import trace
from resseg.gradients.blocks import sum_squares_by_block
from resseg.gradients.coefficients import coefficient_name, learned_means, scheduled
from resseg.gradients.fork import Fork
from resseg.gradients.joins import JOINS, Join, with_addends, with_moments
from resseg.gradients.names import AUX, BACKBONE
from resseg.models.network import SegmentationNetwork
from resseg.training.initial import is_class_score, may_be_random_backbone

SHAPE = (1, 32, 32, 3)
BLOCKS = [f"backbone/stage{i}/block1" for i in (1, 2)]
TINY = {
    "model.backbone.stage_sizes": (1, 1),
    "model.backbone.stage_strides": (1, 2),
    "model.backbone.output_stride": 2,
    "model.backbone.width": 8,
}
PYRAMID = {"model.head.name": "deeplabv3plus", "model.head.rates": (2, 3, 4)}
HEADS = ("fcn", "fcn32s", "fcn16s", "unet", "resunet", "deeplabv3", "deeplabv3plus")


def shapes(overrides, classes=3):
    """Shapes of params and batch_stats of a network of two blocks, by path."""
    config = resseg.load_config("quickstart", TINY | overrides)
    model = resseg.build_model(config, classes)
    images = jax.ShapeDtypeStruct(SHAPE, jnp.float32)
    made = jax.eval_shape(model.init, jax.random.key(0), images)
    return {name: made[name] for name in ("params", "batch_stats")}


def names_learned(overrides):
    return set(jax.eval_shape(learned_means, shapes(overrides)["params"]))


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ({}, set()),
        (
            {"model.shortcut.kind": "learned_scalar", "model.branch.learn": "channel"},
            {f"{block} {factor}" for block in BLOCKS for factor in ("W_c", "W_r")},
        ),
        (
            {"model.shortcut.kind": "gate_exclusive"},
            {f"{block} gate bias" for block in BLOCKS},
        ),
        (
            {"model.long_skip.kind": "gate", **PYRAMID},
            {"head/skip_factor_stage1 gate bias"},
        ),
    ],
)
def test_every_coefficient_that_is_learned_is_logged(overrides, expected):
    assert names_learned(overrides) == expected


def test_every_coefficient_of_a_network_has_a_name_of_its_own():
    """Whichever of them a schedule moves."""
    settings = {
        "model.shortcut.kind": "dropout",
        **PYRAMID,
        "model.gradient.detach_rate": 0.5,
        "model.gradient.clip_sites": 0.5,
        "model.aux.weight": 0.4,
    }
    config = resseg.load_config("quickstart", TINY | settings)
    paths = trace(resseg.build_model(config, 3), SHAPE).paths()
    lines = jax.tree.map(lambda value: np.array([value, value + 1, 0, 1]), paths)
    names = set(scheduled(lines))
    assert len(names) == len(jax.tree.leaves(paths))
    leaves = ("W_c", "W_r", "gradient shortcut", "gradient branch", "bypass")
    leaves = (
        *leaves,
        "detach_rate",
        "clip_sites",
        "branch_out",
        "shortcut_dropout rate",
    )
    wanted = {
        f"{block}{'/' if 'dropout' in leaf else ' '}{leaf}"
        for block in BLOCKS
        for leaf in leaves
    }
    assert wanted <= names
    assert {"head/skip_factor_stage1 kappa", "backbone/long_skip_stage1 skip"} <= names
    assert "backbone/auxiliary_stage1 aux" in names


def test_a_factor_of_something_unknown_is_an_error():
    tree = {"backbone": {"block1": {"renamed_factor": {"factor": jnp.ones(())}}}}
    with pytest.raises(ValueError, match="renamed_factor/factor: a factor of no path"):
        learned_means(tree)
    assert coefficient_name(("block1", "branch_factor", "factor")) == "block1 W_r"


def test_norms_are_by_block():
    squares = jax.eval_shape(sum_squares_by_block, shapes({})["params"])
    assert {name for name in squares if name.startswith("backbone/")} == {
        "backbone/stem",
        *BLOCKS,
    }


@pytest.mark.parametrize(
    ("kind", "paths"),
    [
        ("blocks", ("shortcut", "branch")),
        ("block", ("carried", "branch")),
        ("long_skip", ("shortcut", "deeper")),
    ],
)
def test_a_fork_of_unknown_names_is_an_error(kind, paths):
    with pytest.raises(ValueError, match=f"no kind of fork: '{kind}' with paths"):
        Fork(kind, paths).init(jax.random.key(0), jnp.ones(SHAPE))


def test_a_join_has_both_methods():
    with pytest.raises(TypeError, match="Renamed is a join without `computed`"):

        class Renamed(nn.Module, Join):
            def carried(self, x):
                return x

            def branch_output(self, x):
                return x


def test_a_join_adds_what_it_computes():
    class Forgetful(nn.Module, Join):
        def carried(self, x):
            return x

        def computed(self, x):
            return x

        @nn.compact
        def __call__(self, x):
            return self.carried(x) + x

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            return Forgetful(name="block1")(x)

    with pytest.raises(RuntimeError, match="join at block1 does not call `computed`"):
        with_addends(Net().apply, {}, jnp.ones(3))
    with pytest.raises(RuntimeError, match="join at block1 does not call `computed`"):
        with_moments(lambda: Net().apply({}, jnp.ones(3), mutable=[JOINS]))


@pytest.mark.parametrize("head", HEADS)
def test_class_scores_are_what_has_a_channel_per_class(head):
    settings = PYRAMID if head.startswith("deeplab") else {}
    settings = settings | {"model.head.name": head}
    three, five = (flat(shapes(settings, classes)) for classes in (3, 5))
    assert three.keys() == five.keys()
    scores = {path for path in three if three[path].shape != five[path].shape}
    assert scores and all(map(is_class_score, scores))
    other = {path for path in three if is_class_score(path)} - scores
    assert all("classifier" in path for path in other)


def test_an_auxiliary_head_may_be_on_one_side_alone():
    with_aux = {"model.aux.weight": 0.4}
    more = flat(shapes(with_aux)).keys() - flat(shapes({})).keys()
    assert more and all(map(is_class_score, more))


def test_what_a_backbone_may_lack_is_norms_at_exits_and_learned_factors():
    """Of the same backbone under a head without skips, and without what is learned."""
    settings = {"model.backbone.variant": "v2", "model.head.name": "unet"}
    learned = {"model.branch.learn": "scalar"}
    bare = flat(shapes(settings | {"model.head.name": "fcn"}))
    whole = flat(shapes(settings | learned))
    backbone = {path for path in whole if path.split("/")[1] == BACKBONE}
    assert backbone - bare.keys() == set(filter(may_be_random_backbone, backbone))
    assert {path.split("/")[-1] for path in backbone - bare.keys()} == {
        *("bias", "scale", "mean", "var", "factor")
    }


def test_parts_of_a_network_are_fields_of_it():
    fields = {field.name for field in dataclasses.fields(SegmentationNetwork)}
    assert {BACKBONE, AUX} <= fields


def flat(tree):
    return traverse_util.flatten_dict(tree, sep="/")
