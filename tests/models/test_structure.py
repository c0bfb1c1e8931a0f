"""Structure proved by counts: published parameter numbers, shortcuts, forks."""

import itertools

import jax
import jax.numpy as jnp
import pytest
from flax import traverse_util
from tiny import drawn

from resseg.blueprint.network import build_segmenter
from resseg.blueprint.trace import trace
from resseg.config import base
from resseg.config.heads import HEADS as NAMED_HEADS
from resseg.models.classifier import ImageClassifier

DILATED = {"backbone.output_stride": 8}
WITH_AUX = DILATED | {"aux.weight": 0.5}
SMP_DEEPLAB = {
    "backbone.output_stride": 16,
    "backbone.dilation": "uniform",
    "head.separable": True,
    "head.convs": (1, 1),
}


def parameters(net):
    shapes = jax.eval_shape(net.init, jax.random.key(0), jnp.zeros((1, 64, 64, 3)))
    return traverse_util.flatten_dict(shapes["params"], sep="/")


def count(net):
    return sum(leaf.size for leaf in parameters(net).values())


def network(num_classes, **settings):
    config = base.get_config().model
    config.update_from_flattened_dict(settings)
    return build_segmenter(config, num_classes)


def projections(**settings):
    names = parameters(network(2, **settings))
    return sum(name.endswith("shortcut/conv/kernel") for name in names)


@pytest.mark.parametrize(
    ("depth", "head", "settings", "classes", "published"),
    [
        # torchvision
        (50, "fcn", WITH_AUX, 21, 35_322_218),
        pytest.param(101, "fcn", WITH_AUX, 21, 54_314_346, marks=pytest.mark.slow),
        (50, "deeplabv3", WITH_AUX, 21, 42_004_074),
        pytest.param(
            101, "deeplabv3", WITH_AUX, 21, 60_996_202, marks=pytest.mark.slow
        ),
        (50, "fcn", DILATED, 21, 32_957_013),
        (50, "deeplabv3", DILATED, 21, 39_638_869),
        # segmentation_models.pytorch
        (18, "unet", {}, 1, 14_328_209),
        (34, "unet", {}, 1, 24_436_369),
        (50, "unet", {}, 1, 32_521_105),
        pytest.param(101, "unet", {}, 1, 51_513_233, marks=pytest.mark.slow),
        (50, "deeplabv3plus", SMP_DEEPLAB, 1, 26_677_585),
        pytest.param(
            101, "deeplabv3plus", SMP_DEEPLAB, 1, 45_669_713, marks=pytest.mark.slow
        ),
    ],
)
def test_segmenters_have_the_published_number_of_parameters(
    depth, head, settings, classes, published
):
    settings = {"backbone.depth": depth, "head.name": head} | settings
    assert count(network(classes, **settings)) == published


@pytest.mark.parametrize(
    ("depth", "settings", "published"),
    [
        # torchvision
        (18, {}, 11_689_512),
        (34, {}, 21_797_672),
        (50, {}, 25_557_032),
        (50, {"backbone.variant": "v1"}, 25_557_032),
        (101, {}, 44_549_160),
        pytest.param(152, {}, 60_192_808, marks=pytest.mark.slow),
        (50, {"backbone.groups": 32, "backbone.group_width": 4}, 25_028_904),
        (50, {"backbone.width_factor": 2.0}, 68_883_240),
        (50, {"backbone.group_width": 128}, 68_883_240),
        # timm
        (50, {"backbone.variant": "v1d"}, 25_576_264),
        (50, {"backbone.se_reduction": 16}, 28_088_024),
        (50, {"backbone.variant": "v2"}, 25_549_352),
    ],
)
def test_classifiers_have_the_published_number_of_parameters(
    depth, settings, published
):
    backbone = network(2, **{"backbone.depth": depth, "head.name": "fcn"} | settings)
    assert count(ImageClassifier(backbone.backbone, 1000)) == published


@pytest.mark.parametrize(
    ("depth", "millions"), [(20, 0.27), (32, 0.46), (44, 0.66), (56, 0.85), (110, 1.7)]
)
def test_cifar_networks_have_the_number_of_parameters_of_he_2015(depth, millions):
    """Table 6; shortcuts A: 3x3 convolutions, their norms and a linear layer."""
    per_stage = (depth - 2) // 3
    widths = [3] + [16] * (1 + per_stage) + [32] * per_stage + [64] * per_stage
    expected = sum(9 * a * b + 2 * b for a, b in itertools.pairwise(widths))
    expected += (64 + 1) * 10
    settings = {"backbone.depth": depth, "head.name": "fcn", "shortcut.transition": "A"}
    found = count(ImageClassifier(network(2, **settings).backbone, 10))
    assert found == expected
    assert round(found / 1e6, 1 if depth == 110 else 2) == millions


@pytest.mark.parametrize(
    ("depth", "projected", "blocks"), [(18, 3, 8), (34, 3, 16), (50, 4, 16)]
)
def test_only_blocks_that_change_shape_project(depth, projected, blocks):
    names = parameters(network(2, **{"backbone.depth": depth, "head.name": "fcn"}))
    assert sum(name.endswith("shortcut/conv/kernel") for name in names) == projected
    inside = {tuple(name.split("/")[1:3]) for name in names if "/block" in name}
    assert len(inside) == blocks


@pytest.mark.parametrize(
    ("settings", "projected"),
    [
        ({"shortcut.transition": "A"}, 0),
        ({"shortcut.transition": "B"}, 3),
        ({"shortcut.transition": "C"}, 8),
        ({"shortcut.transition": "D"}, 3),
        ({"backbone.variant": "v1d"}, 3),
        ({"shortcut.kind": "conv1x1"}, 8),
        ({"shortcut.kind": "none"}, 0),
        ({"backbone.variant": "v1d", "shortcut.kind": "none"}, 0),
        # Wide: the stem is not widened, so that the first stage projects too.
        ({"backbone.width_factor": 2.0}, 4),
    ],
)
def test_a_transition_projects_where_its_letter_says(settings, projected):
    assert projections(**settings) == projected


@pytest.mark.parametrize("head", NAMED_HEADS)
@pytest.mark.parametrize("order", ["post", "pre"])
def test_logits_are_float32_at_the_size_of_any_image(small, head, order):
    small.head.name, small.backbone.order, small.aux.weight = head, order, 0.4
    net = build_segmenter(small, 5)
    images = jax.ShapeDtypeStruct((2, 65, 47, 3), jnp.float32)

    def run(key, images):
        return net.apply(net.init(key, images), images)

    outputs = jax.eval_shape(run, jax.random.key(0), images)
    assert set(outputs) == {"logits", "aux"}
    for output in outputs.values():
        assert output.shape == (2, 65, 47, 5)
        assert output.dtype == jnp.float32


def test_bfloat16_computes_in_half_and_keeps_weights_and_logits_in_single(small):
    small.dtype = "bfloat16"
    net = build_segmenter(small, 3)
    images = jax.random.normal(jax.random.key(1), (1, 32, 32, 3))
    variables = drawn(net, images)
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype("float32")}
    half = net.apply(variables, images)["logits"]
    small.dtype = "float32"
    single = build_segmenter(small, 3).apply(variables, images)["logits"]
    assert half.dtype == jnp.float32
    assert 0 < jnp.abs(half - single).max() < 0.1 * jnp.abs(single).max()


def test_every_fork_of_the_table_is_there(small):
    small.head.name, small.aux.weight = "unet", 0.4
    forks = {f.name: f for f in trace(build_segmenter(small, 3), (2, 32, 32, 3)).forks}
    assert list(forks) == [
        "backbone/long_skip_stem",
        "backbone/stage1/block1",
        "backbone/long_skip_stage1",
        "backbone/stage2/block1",
        "backbone/long_skip_stage2",
        "backbone/stage3/block1",
        "backbone/auxiliary_stage3",
        "backbone/long_skip_stage3",
        "backbone/stage4/block1",
    ]
    assert forks["backbone/long_skip_stem"].paths == ("skip", "deeper")
    assert forks["backbone/auxiliary_stage3"].paths == ("aux", "deeper")
    small.head.name = "deeplabv3"
    pyramid = trace(build_segmenter(small, 3), (2, 32, 32, 3)).forks[-1]
    assert pyramid.name == "head/pyramid"
    assert pyramid.paths == ("conv1x1", "rate6", "rate12", "rate18", "pool")
