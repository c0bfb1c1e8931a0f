"""MobileNetV2 and EfficientNet-B0 as backbones: torchvision's counts, what is open."""

import jax
import jax.numpy as jnp
import pytest

from resseg.blueprint.blueprint import Blueprint
from resseg.blueprint.trace import trace
from resseg.config.load import load_config
from resseg.errors import UserError
from resseg.models.blocks import Block
from resseg.models.layers import Conv

LAYOUT = {"model.backbone.layout": "mobilenetv2", "model.head.name": "fcn"}


def blueprint(size=(64, 64), **keys):
    given = {f"model.{key}": value for key, value in keys.items()}
    return Blueprint.of(load_config("base", LAYOUT | given), 3, size)


def backbone(size, **keys):
    return trace(blueprint(**keys).model.backbone, (1, *size, 3), train=False)


# torchvision's own, with its classifier of 1000: `sum(p.numel() for p in parameters())`
# and half of what torch.utils.flop_counter.FlopCounterMode counts on 224 x 224.
@pytest.mark.parametrize(
    ("width_mult", "params", "macs"),
    [(1.0, 3_504_872, 300_774_272), (0.5, 1_968_680, 97_131_840)],
)
def test_parameters_and_multiply_accumulates_are_torchvisions(width_mult, params, macs):
    traced = backbone((224, 224), **{"backbone.width_factor": width_mult})
    classifier = 1280 * 1000
    assert sum(traced.parameters.values()) + classifier + 1000 == params
    assert sum(traced.macs) + classifier == macs


def test_parameters_and_multiply_accumulates_of_efficientnet_are_torchvisions():
    keys = {"backbone.layout": "efficientnet_b0"}
    traced = backbone((224, 224), **keys)
    classifier = 1280 * 1000
    assert sum(traced.parameters.values()) + classifier + 1000 == 5_288_548
    assert sum(traced.macs) + classifier == 385_814_752
    forks = [fork for fork in blueprint(**keys).forks(1) if fork.kind == "block"]
    assert len(forks) == 15
    assert sum(fork.paths == ("shortcut", "branch") for fork in forks) == 9
    sides = [
        call.module.kernel
        for call in backbone((64, 64), **keys, **{"backbone.output_stride": 8}).calls
        if isinstance(call.module, Conv) and call.path[-1] == "conv2"
    ]
    assert sides == [3, 3, 3, 5, 5, 3, 3, 3, 5, 5, 5, 5, 5, 5, 5, 3]


def test_ten_of_its_sixteen_blocks_have_a_shortcut():
    forks = [fork for fork in blueprint().forks(1) if fork.kind == "block"]
    assert len(forks) == 16
    both = [fork.name for fork in forks if fork.paths == ("shortcut", "branch")]
    assert {fork.paths for fork in forks} == {("shortcut", "branch"), ("branch",)}
    assert both == [
        "backbone/stage1/block2",
        *(f"backbone/stage2/block{n}" for n in (2, 3)),
        *(f"backbone/stage3/block{n}" for n in (2, 3, 4, 6, 7)),
        *(f"backbone/stage4/block{n}" for n in (2, 3)),
    ]


def test_its_features_are_where_those_of_a_resnet_are():
    model = blueprint(**{"head.name": "unet"}).model.backbone
    found = jax.eval_shape(
        lambda key, x: model.init_with_output(key, x, False)[0],
        jax.random.key(0),
        jax.ShapeDtypeStruct((1, 97, 131, 3), jnp.float32),
    )
    assert {name: feature.shape[1:] for name, feature in found.items()} == {
        "stem": (49, 66, 16),
        "stage1": (25, 33, 24),
        "stage2": (13, 17, 32),
        "stage3": (7, 9, 96),
        "stage4": (4, 5, 1280),
    }


def test_its_last_strides_become_dilations():
    calls = backbone((64, 64), **{"backbone.output_stride": 8}).calls
    found = {
        "/".join(call.path): call.module.dilation
        for call in calls
        if isinstance(call.module, Conv) and call.path[-1] == "conv2"
    }
    assert found.pop("stem/conv2") == 1
    assert list(found.values()) == [1] * 5 + [1] + [2] * 6 + [2] + [4] * 3
    strides = [c.module.strides for c in calls if isinstance(c.module, Block)]
    assert strides == [2, 1] + [2, 1, 1] + [1] * 7 + [1] * 4


def test_it_is_described_by_its_name_and_with_its_deepest_feature():
    described = blueprint((96, 64)).description
    assert described.title == "fcn on mobilenetv2 (width 32)"
    assert described.output_stride == 32
    whole = described.parts[0]
    assert whole.output == (3, 2, 1280)
    tail = whole.parts[-1]
    assert (tail.name, tail.kind) == ("backbone/tail", "conv")
    assert (tail.params, tail.macs) == (320 * 1280 + 2 * 1280, 6 * 320 * 1280)


@pytest.mark.parametrize(
    ("keys", "reason"),
    [
        ({"backbone.depth": 50}, "layout 'mobilenetv2' has its own, set 18"),
        ({"backbone.block": "ghost"}, "layout 'mobilenetv2' has its own, set ''"),
        ({"backbone.stem": "7x7"}, "layout 'mobilenetv2' has its own, set ''"),
        ({"shortcut.streams": 2}, "layout 'mobilenetv2' has its own, set 1"),
        (
            {"branch.init": "zero_gamma"},
            "needs a shortcut in each block, transition 'none' leaves some without",
        ),
    ],
)
def test_what_its_layout_says_cannot_be_said_otherwise(keys, reason):
    ((key, value),) = keys.items()
    with pytest.raises(UserError) as error:
        load_config("base", LAYOUT | {f"model.{key}": value})
    assert str(error.value) == f"config.model.{key}={value!r}: {reason}"
