"""Keys that end in fields of modules: rates of dropout, gates, strides, dilations.

Read off the trace: module by path, nothing is computed.
"""

import functools
import re

import flax.linen as nn
import numpy as np
import pytest

from resseg.blueprint.network import build_segmenter
from resseg.blueprint.trace import trace
from resseg.config.load import load_config
from resseg.models.blocks import Block
from resseg.models.layers import Conv, Norm
from resseg.models.shortcuts import Gate

SMALL = {
    "model.backbone.stage_sizes": (2, 1, 2),
    "model.backbone.stage_strides": (1, 2, 2),
    "model.backbone.width": 4,
    "model.backbone.stem": "3x3",
    "data.crop": (32, 32),
}
RATES = {"model.head.rates": (1, 2, 3)}


@functools.cache
def traced(head, *keys):
    settings = SMALL | {"model.head.name": head} | dict(keys)
    if head.startswith("deeplab"):
        settings |= RATES
    config = load_config("base", settings)
    return trace(build_segmenter(config.model, 3), (1, 32, 32, 3))


def fields(net, kind, name):
    """Module path -> value of a field, of modules of one kind."""
    return {
        "/".join(call.path): getattr(call.module, name)
        for call in net.calls
        if isinstance(call.module, kind)
    }


DROPS = {
    "fcn": {"head/classifier/Dropout_0"},
    "fcn32s": {"head/score_stage3/Dropout_0"},
    "fcn16s": {f"head/score_stage{n}/Dropout_0" for n in (2, 3)},
    "fcn8s": {f"head/score_stage{n}/Dropout_0" for n in (1, 2, 3)},
    "unet": {"head/classifier/Dropout_0"},
    "resunet": {"head/classifier/Dropout_0"},
    "deeplabv3": {"head/pyramid/Dropout_0"},
    "deeplabv3plus": {"head/pyramid/Dropout_0"},
}
# Drop rates of the five blocks of a backbone whose last one has 0.4.
RAMP = (0.0, 0.1, 0.2, 0.3, 0.4)


@pytest.mark.parametrize("head", DROPS)
def test_each_rate_of_dropout_reaches_its_places(head):
    net = traced(
        head,
        ("model.head.dropout", 0.37),
        ("model.aux.weight", 0.4),
        ("model.backbone.dropout", 0.21),
        ("model.backbone.stochastic_depth", 0.4),
    )
    rates = {k: x for k, x in fields(net, nn.Dropout, "rate").items() if x}
    expected = dict.fromkeys(DROPS[head], 0.37)
    expected["aux/classifier/Dropout_0"] = 0.1  # torchvision's
    blocks = [
        f"backbone/stage{stage}/block{i + 1}"
        for stage, size in enumerate((2, 1, 2), 1)
        for i in range(size)
    ]
    for block, rate in zip(blocks, RAMP, strict=True):
        expected[f"{block}/branch/Dropout_0"] = 0.21
        if rate:
            expected[f"{block}/Dropout_0"] = rate
    if head == "resunet":  # its blocks drop values, and are never skipped
        decoders = [f"head/decoder{n}/branch/Dropout_0" for n in (1, 2, 3)]
        expected |= dict.fromkeys(decoders, 0.21)
    assert rates.keys() == expected.keys()
    for path, rate in expected.items():
        assert rates[path] == pytest.approx(rate), path
    dropped = fields(net, nn.Dropout, "broadcast_dims")
    for path, axes in dropped.items():
        of_block = re.search(r"/(block|decoder)\d/Dropout_0$", path)
        assert axes == ((1, 2, 3) if of_block else ()), path


GATES = {
    "fcn16s": ("stage2",),
    "fcn8s": ("stage1", "stage2"),
    "unet": ("stem", "stage1", "stage2"),
    "resunet": ("stem", "stage1", "stage2"),
    "deeplabv3plus": ("stage1",),
}


@pytest.mark.parametrize("head", GATES)
def test_each_long_skip_has_its_gate_and_no_other_place(head):
    net = traced(head, ("model.long_skip.kind", "gate"))
    found = fields(net, Gate, "bias")
    assert found == {f"head/skip_factor_{s}/gate": 0.0 for s in GATES[head]}
    assert fields(traced(head), Gate, "bias") == {}


@pytest.mark.parametrize("norm", ["batch", "group", "none"])
@pytest.mark.parametrize("head", ["unet", "deeplabv3plus", "fcn"])
def test_one_norm_is_everywhere(head, norm):
    net = traced(head, ("model.norm", norm), ("model.aux.weight", 0.4))
    kinds = fields(net, Norm, "kind")
    assert {path.split("/")[0] for path in kinds} == {"backbone", "head", "aux"}
    assert set(kinds.values()) == {norm}


def test_strides_become_dilations_from_the_output_stride_on():
    keys = {
        "model.backbone.output_stride": 2,
        "model.backbone.multi_grid": (1, 3),
        "model.backbone.dilation": "uniform",
    }
    net = traced("fcn", *keys.items())
    assert list(fields(net, Block, "strides").values()) == [1, 1, 2, 1, 1]
    assert list(fields(net, Block, "dilation").values()) == [1, 1, 1, 2, 6]
    plain = traced("fcn")
    assert list(fields(plain, Block, "strides").values()) == [1, 1, 2, 2, 1]
    assert set(fields(plain, Block, "dilation").values()) == {1}


@pytest.mark.parametrize(("place", "strides"), [("1x1", (2, 1, 1)), ("3x3", (1, 2, 1))])
def test_the_convolution_that_strides_is_the_one_that_is_named(place, strides):
    net = traced(
        "fcn",
        ("model.backbone.block", "bottleneck"),
        ("model.backbone.stride_on", place),
    )
    found = fields(net, Conv, "strides")
    branch = "backbone/stage2/block1/branch"
    assert tuple(found[f"{branch}/conv{i}"] for i in (1, 2, 3)) == strides


def test_pyramids_have_their_rates_and_their_width():
    net = traced("deeplabv3plus", ("model.head.width", 12))
    dilations = fields(net, Conv, "dilation")
    for name, rate in zip(("rate1", "rate2", "rate3"), (1, 2, 3), strict=True):
        assert dilations[f"head/pyramid/{name}/conv"] == rate
    widths = fields(net, Conv, "features")
    assert {
        width
        for path, width in widths.items()
        if path.startswith("head/pyramid/") or path.startswith("head/conv")
    } == {12}
    assert widths["head/low_level/conv"] == max(48 * 12 // 256, 4)
    assert widths["head/classifier/conv"] == 3
    by_width = fields(traced("deeplabv3plus"), Conv, "features")
    assert by_width["head/pyramid/project/conv"] == 4 * 4


@pytest.mark.parametrize(("stem", "levels"), [("3x3", 3), ("7x7", 4)])
def test_a_decoder_halves_its_channels_down_to_eight(stem, levels):
    keys = {"model.backbone.width": 16, "model.backbone.stem": stem}
    widths = fields(traced("unet", *keys.items()), Conv, "features")
    found = [widths[f"head/decoder{n + 1}/conv2/conv"] for n in range(levels)]
    assert found == [32, 16, 8, 8][:levels]
    assert f"head/decoder{levels + 1}/conv2/conv" not in widths


def test_a_classifier_of_a_unet_is_3x3_and_others_are_1x1():
    for head, kernel in (("unet", 3), ("fcn", 1), ("deeplabv3plus", 1)):
        kernels = fields(traced(head), Conv, "kernel")
        assert kernels["head/classifier/conv"] == kernel


def test_what_is_standardised_are_residual_kernels():
    net = traced("unet", ("model.weight_standardization", True))
    found = fields(net, Conv, "standardized")
    chosen = {path for path, x in found.items() if x}
    assert chosen == {path for path in found if path.startswith("backbone/")}


def test_widths_of_stages_and_inside_of_bottlenecks():
    keys = {
        "model.backbone.block": "bottleneck",
        "model.backbone.width": 8,
        "model.backbone.groups": 2,
        "model.backbone.group_width": 32,
        "model.backbone.width_factor": 1.5,
    }
    net = traced("fcn", *keys.items())
    widths, groups = (fields(net, Conv, name) for name in ("features", "groups"))
    for stage in (1, 2, 3):
        out = 4 * 8 * 2 ** (stage - 1)
        inner = int(out / 4 * 1.5 * 32 / 64) * 2
        branch = f"backbone/stage{stage}/block1/branch"
        found = [widths[f"{branch}/conv{i}"] for i in (1, 2, 3)]
        np.testing.assert_array_equal(found, [inner, inner, out])
        assert [groups[f"{branch}/conv{i}"] for i in (1, 2, 3)] == [1, 2, 1]
