"""Configs and builders agree: the same names, and every experiment can take a step."""

from pathlib import Path

import jax
import numpy as np
import pytest

import resseg
from resseg import architecture, sharding
from resseg.architecture import spell_out
from resseg.blueprint.blueprint import Blueprint
from resseg.blueprint.network import build_segmenter
from resseg.config import base
from resseg.config.heads import HEADS, skip_names
from resseg.config.rows import KEYS
from resseg.data import sources
from resseg.models import layers
from resseg.training import losses, optim, recipe
from resseg.training.steps import init_state, make_train_step

ROOT = Path(__file__).resolve().parents[2]
EXPERIMENTS = [
    path
    for path in sorted((ROOT / "configs").rglob("*.py"))
    if path.name not in ("__init__.py", "base.py")
    and path.parent.name not in ("voc", "ade20k")  # the network of cityscapes
]


@pytest.mark.parametrize(
    ("field", "built"),
    [
        ("model.norm", layers.NORMS),
        ("model.backbone.layout", ("", *architecture.LAYOUTS)),
        ("model.backbone.depth", architecture.DEPTHS),
        ("model.backbone.variant", architecture.VARIANTS),
        ("model.backbone.stem", ("", *architecture.STEM_STRIDES)),
        ("model.backbone.block", ("", *architecture.EXPANSION)),
        ("model.backbone.order", ("", *architecture.ORDERS)),
        ("model.backbone.stride_on", ("", *architecture.STRIDE_ON)),
        ("model.backbone.dilation", architecture.DILATIONS),
        ("model.shortcut.kind", architecture.SHORTCUT_KINDS),
        ("model.shortcut.transition", ("", *architecture.TRANSITIONS)),
        ("model.branch.learn", architecture.LEARN),
        ("model.branch.init", architecture.BRANCH_INITS),
        ("optim.name", optim.OPTIMIZERS),
        ("optim.schedule", optim.SCHEDULES),
    ],
)
def test_what_may_be_chosen_is_what_can_be_built(field, built):
    assert sorted(KEYS[field].value.options) == sorted(built)


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ({}, ((2, 2, 2, 2), "basic", 64, "post", "7x7", "3x3", "B", (1, 2, 2, 2), 32)),
        (
            {"model.backbone.depth": 101, "model.backbone.variant": "v1"},
            (
                (3, 4, 23, 3),
                "bottleneck",
                64,
                "post",
                "7x7",
                "1x1",
                "B",
                (1, 2, 2, 2),
                32,
            ),
        ),
        (
            {"model.backbone.depth": 50, "model.backbone.variant": "v1d"},
            (
                (3, 4, 6, 3),
                "bottleneck",
                64,
                "post",
                "deep",
                "3x3",
                "D",
                (1, 2, 2, 2),
                32,
            ),
        ),
        (
            {"model.backbone.depth": 164, "model.backbone.variant": "v2"},
            ((18, 18, 18), "bottleneck", 16, "pre", "3x3", "3x3", "B", (1, 2, 2), 4),
        ),
        (
            {
                "model.backbone.depth": 20,
                "model.backbone.variant": "v1d",
                "model.backbone.stem": "7x7",
                "model.backbone.block": "bottleneck",
                "model.backbone.width": 12,
                "model.backbone.stride_on": "1x1",
                "model.shortcut.transition": "C",
                "model.backbone.order": "pre",
            },
            ((3, 3, 3), "bottleneck", 12, "pre", "7x7", "1x1", "C", (1, 2, 2), 16),
        ),
    ],
)
def test_a_backbone_is_spelled_out_as_depth_and_variant_say(overrides, expected):
    config = resseg.load_config("base", overrides)
    assert spell_out(config.model) == (*expected, expected[-1], (), 0, 0, ())


def test_terms_of_the_loss_are_the_keys_of_the_config():
    config = resseg.load_config("base")
    assert sorted(config.loss.terms) == sorted(losses.TERMS)


# Of the recipes, whose networks are large, what else reads them is in test_recipes.
RECIPES = ("cityscapes", "coco_stuff", "pets")


@pytest.mark.parametrize(
    "path",
    [
        pytest.param(
            path,
            id=f"{path.parent.name}-{path.stem}",
            marks=pytest.mark.slow if path.parent.name in RECIPES else (),
        )
        for path in EXPERIMENTS
    ],
)
def test_every_experiment_builds_and_takes_a_step(path):
    """Traced with the config's own shapes, not computed: all but the arithmetic."""
    config = resseg.load_config(path)
    classes = len(config.loss.class_weights) or 7
    blueprint = Blueprint.of(config, classes)
    optimizer, _ = recipe.build_optimizer(config)
    shape = (config.data.batch_size, *config.data.crop, 3)
    step = make_train_step(
        blueprint.model,
        recipe.optimizer_of(config),
        recipe.build_loss(config, classes),
        blueprint.zero_taps(),
        num_classes=classes,
        clips=config.optim.clip_norm is not None,
        averages=config.optim.ema > 0,
    )
    ema = config.optim.ema > 0
    state = jax.eval_shape(
        lambda variables: init_state(variables, optimizer, ema=ema), blueprint.variables
    ).replace(numbers=recipe.numbers(config))
    batch = {
        "image": jax.ShapeDtypeStruct(shape, np.float32),
        "label": jax.ShapeDtypeStruct(shape[:3], np.int32),
    }
    after, log = jax.eval_shape(step, state, batch, jax.random.key(0))
    assert jax.tree.structure(after) == jax.tree.structure(state)
    assert set(log["forks"]) == {fork.name for fork in blueprint.forks(1)}
    assert log["confusion"].shape == (classes, classes)


def test_the_founding_example_is_five_layers_at_full_resolution():
    """y = g(W_c x + W_r h(x)): W_c a kernel, W_r a scalar; 32 images, 224 x 224 x 3."""
    config = resseg.load_config(ROOT / "configs/founding.py")
    assert (config.data.batch_size, *config.data.crop) == (32, 224, 224)
    model = build_segmenter(config.model, 7)
    image = jax.ShapeDtypeStruct((1, 224, 224, 3), np.float32)
    params = jax.eval_shape(model.init, jax.random.key(0), image)["params"]
    layers_ = params["backbone"]["stage1"]
    assert len(layers_) == 5
    for layer in layers_.values():
        assert layer["shortcut"]["conv"]["kernel"].shape[:2] == (1, 1)
        assert layer["branch_factor"]["factor"].shape == ()


def test_median_frequency_weights_come_from_the_data(tiny_config):
    with tiny_config.unlocked():
        tiny_config.loss.class_weights = "median_frequency"
        tiny_config.loss.terms.dice = 0.0
    loss = recipe.build_loss(tiny_config, 7)
    counted = sources.count_split(tiny_config.data, "train").pixels
    present = counted > 0
    images = np.where(present, counted.sum(1, keepdims=True), 0).sum(0)
    frequency = counted.sum(0) / np.maximum(images, 1)
    weights = np.median(frequency[frequency > 0]) / frequency[0]
    logits, label = np.zeros((1, 1, 2, 7), np.float32), np.array([[[0, 255]]])
    value, _ = loss(logits, label)
    np.testing.assert_allclose(value, weights * np.log(7), rtol=1e-5)


def test_skips_are_what_each_head_documents():
    unet = ("stem", "stage1", "stage2", "stage3")
    documented = {
        "unet": unet,
        "resunet": unet,
        "deeplabv3plus": ("stage1",),
        "fcn8s": ("stage2", "stage3"),
        "fcn16s": ("stage3",),
        **dict.fromkeys(("fcn", "fcn32s", "deeplabv3", "pspnet"), ()),
        **dict.fromkeys(("linknet", "unetplusplus", "manet"), unet),
        **dict.fromkeys(("fpn", "pan", "upernet"), unet[1:]),
        "lraspp": ("stage2",),
    }
    assert documented.keys() == HEADS.keys()
    for head, skips in documented.items():
        model = base.get_config().model
        model.head.name = head
        assert skip_names(model) == skips


def test_devices_must_share_the_batch_evenly():
    mesh = sharding.make_mesh(4)
    batch = sharding.put_batch({"x": np.zeros((8, 2))}, sharding.by_batch(mesh))
    assert {s.data.shape for s in batch["x"].addressable_shards} == {(2, 2)}
