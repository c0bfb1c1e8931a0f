"""Structure proved by counts: published parameter numbers, shortcuts, forks."""

import jax
import jax.numpy as jnp
import pytest
from flax import traverse_util

from configs import base
from resseg.gradients.fork import list_forks
from resseg.models.heads import HEADS as NAMED_HEADS
from resseg.models.resnet import stage_layout
from resseg.network import build_segmenter


def shapes(model, num_classes, **settings):
    config = base.get_config().model
    for key, value in settings.items():
        config.update_from_flattened_dict({key: value})
    net = build_segmenter(config, num_classes)
    return jax.eval_shape(net.init, jax.random.key(0), jnp.zeros((1, 64, 64, 3)))


def parameters(depth, head, num_classes, **settings):
    settings = {"backbone.depth": depth, "head.name": head} | settings
    variables = shapes(None, num_classes, **settings)
    return sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))


@pytest.mark.parametrize(
    ("depth", "head", "settings", "classes", "count"),
    [
        # torchvision publishes these; with 21 classes and the auxiliary head
        (50, "fcn", {"backbone.output_stride": 8, "aux.weight": 0.5}, 21, 35_322_218),
        (
            50,
            "deeplabv3",
            {"backbone.output_stride": 8, "aux.weight": 0.5},
            21,
            42_004_074,
        ),
        (50, "fcn", {"backbone.output_stride": 8}, 21, 32_957_013),
        (50, "deeplabv3", {"backbone.output_stride": 8}, 21, 39_638_869),
        # segmentation_models.pytorch's Unet with one class
        (18, "unet", {}, 1, 14_328_209),
        (34, "unet", {}, 1, 24_436_369),
        (50, "unet", {}, 1, 32_521_105),
    ],
)
def test_parameter_counts_are_the_published_ones(depth, head, settings, classes, count):
    assert parameters(depth, head, classes, **settings) == count


@pytest.mark.parametrize(
    ("depth", "projected", "blocks"), [(18, 3, 8), (34, 3, 16), (50, 4, 16)]
)
def test_only_blocks_that_change_shape_project(depth, projected, blocks):
    params = shapes(None, 2, **{"backbone.depth": depth})["params"]["backbone"]
    flat = traverse_util.flatten_dict(params, sep="/")
    assert sum(key.endswith("shortcut/conv/kernel") for key in flat) == projected
    assert (
        len({"/".join(key.split("/")[:2]) for key in flat if "/block" in key}) == blocks
    )


def test_conv1x1_shortcuts_project_everywhere_and_none_nowhere():
    for kind, count in (("conv1x1", 8), ("none", 0)):
        params = shapes(None, 2, **{"shortcut.kind": kind})["params"]
        flat = traverse_util.flatten_dict(params, sep="/")
        assert sum("shortcut/conv" in key for key in flat) == count


def test_layout_is_torchvisions():
    # stride of the first block, its dilation, dilation of the others
    assert stage_layout("7x7", (1, 2, 2, 2), 8) == [
        (1, 1, 1),
        (2, 1, 1),
        (1, 1, 2),
        (1, 2, 4),
    ]
    with pytest.raises(ValueError, match="output stride 12"):
        stage_layout("7x7", (1, 2, 2, 2), 12)


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
    variables = net.init(jax.random.key(0), images)
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype("float32")}
    half = net.apply(variables, images)["logits"]
    small.dtype = "float32"
    single = build_segmenter(small, 3).apply(variables, images)["logits"]
    assert half.dtype == jnp.float32
    assert 0 < jnp.abs(half - single).max() < 0.1 * jnp.abs(single).max()


def test_every_fork_of_the_table_is_there(small):
    small.head.name, small.aux.weight = "unet", 0.4
    forks = {f.name: f for f in list_forks(build_segmenter(small, 3), (2, 32, 32, 3))}
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
    pyramid = list_forks(build_segmenter(small, 3), (2, 32, 32, 3))[-1]
    assert pyramid.name == "head/pyramid"
    assert pyramid.paths == ("conv1x1", "rate6", "rate12", "rate18", "pool")
