"""Weights that are not what they should be: one line that names the tensor."""

import dataclasses
import sys

import numpy as np
import pytest
import safetensors.numpy
from drawn import weights
from jax_side import BASE, network

from resseg.config.load import load_config
from resseg.errors import UserError
from resseg.interop import (
    LAYOUTS,
    from_torch,
    read_weights,
    tensor_shapes,
    to_torch,
)
from resseg.interop.architecture import Architecture

SMALL = Architecture((1, 1, 1, 1), "basic", width=8, num_classes=3)
UNET = Architecture(
    (1, 1, 1, 1), "basic", width=8, head="unet", num_classes=3, decoder=(8,) * 5
)


def state_dict(layout="torchvision", architecture=SMALL):
    return weights(tensor_shapes(layout, architecture))


def refusal(layout, tensors, architecture=""):
    with pytest.raises(UserError) as error:
        from_torch(layout, tensors, architecture)
    message = str(error.value)
    assert "\n" not in message
    return message


def test_a_missing_tensor_is_named():
    tensors = state_dict()
    del tensors["layer2.0.bn1.running_mean"]
    assert refusal("torchvision", tensors) == (
        "layout 'torchvision': missing: layer2.0.bn1.running_mean"
    )


def test_a_tensor_left_over_is_named():
    tensors = state_dict() | {"layer2.0.extra": np.zeros(3, np.float32)}
    assert refusal("torchvision", tensors) == (
        "layout 'torchvision': left over: layer2.0.extra"
    )


def test_many_missing_tensors_are_counted():
    tensors = {
        name: array
        for name, array in state_dict().items()
        if not name.startswith("layer4")
    }
    message = refusal("torchvision", tensors)
    assert "missing: layer4.0.conv1.weight, " in message
    assert "and 11 more" in message  # of 3 convolutions and 3 norms of 4


def test_a_wrong_shape_is_named_with_both_shapes():
    tensors = state_dict()
    tensors["layer3.0.conv2.weight"] = np.zeros((32, 32, 1, 1), np.float32)
    assert refusal("torchvision", tensors) == (
        "layout 'torchvision': layer3.0.conv2.weight: expected shape (32, 32, 3, 3), "
        "found (32, 32, 1, 1)"
    )


@pytest.mark.parametrize("shape", [(), (0, 3, 7, 7), (8,)])
def test_a_shape_that_no_layer_has_is_refused(shape):
    tensors = state_dict() | {"conv1.weight": np.zeros(shape, np.float32)}
    assert "tensor conv1.weight: expected 4 axes" in refusal("torchvision", tensors)


def test_counts_of_batches_may_be_missing():
    tensors = {n: a for n, a in state_dict().items() if a.ndim}
    assert from_torch("torchvision", tensors)


def test_half_precision_is_widened_and_double_refused():
    half = {n: a.astype(np.float16) for n, a in state_dict().items() if a.ndim}
    _, variables = from_torch("torchvision", half)
    kernel = variables["params"]["backbone"]["stem"]["conv"]["kernel"]
    assert kernel.dtype == np.float32
    wide = half["conv1.weight"].astype(np.float32)
    np.testing.assert_array_equal(kernel, wide.transpose(2, 3, 1, 0))
    double = state_dict() | {"fc.bias": np.zeros(3)}
    assert "fc.bias: expected float32 or" in refusal("torchvision", double)
    assert "found float64" in refusal("torchvision", double)


@pytest.mark.parametrize(
    ("asked", "given", "says"),
    [
        (
            ("torchvision", "resnet50"),
            ("torchvision", "resnet34"),
            "layer1.0.conv1.weight: expected shape (64, 64, 1, 1), found "
            "(64, 64, 3, 3) (these are the tensors of resnet34 of layout 'torch",
        ),
        (
            ("torchvision", "resnet50"),
            ("torchvision", "resnet101"),
            "left over: layer3.6.conv1.weight",
        ),
        (
            ("torchvision", "fcn_resnet50"),
            ("torchvision", "deeplabv3_resnet50"),
            "classifier.1.weight: expected shape (512,), found (256, 256, 3, 3)",
        ),
        (
            ("smp", "Unet_resnet18"),
            ("smp", "DeepLabV3_resnet18"),
            "these are the tensors of DeepLabV3_resnet18 of layout 'smp'",
        ),
        (
            ("torchvision", "resnet18"),
            ("smp", "Unet_resnet18"),
            "tensor conv1.weight is missing; the first that are there: "
            "encoder.conv1.weight",
        ),
        (("timm", ""), ("smp", "Unet_resnet18"), "of Unet_resnet18 of layout 'smp'"),
        (("torchvision", ""), ("timm", "resnet50d"), "variant='v1d'"),
        (("torchvision", ""), ("timm", "seresnet50"), "squeeze-and-excitation"),
    ],
)
def test_tensors_of_another_network_are_recognised(asked, given, says):
    known = LAYOUTS[given[0]].architectures[given[1]]
    shapes = tensor_shapes(given[0], dataclasses.replace(known, num_classes=1))
    tensors = {n: np.broadcast_to(np.float32(0), s) for n, s in shapes.items()}
    assert says in refusal(asked[0], tensors, asked[1])


def test_nothing_at_all_is_refused():
    assert "none" in refusal("timm", {})


@pytest.mark.parametrize(
    ("layout", "name", "nearest"),
    [("torchvison", "", "torchvision"), ("timm", "resnet50e", "resnet50")],
)
def test_an_unknown_name_comes_with_the_nearest(layout, name, nearest):
    assert f"did you mean '{nearest}" in refusal(layout, {}, name)


@pytest.mark.parametrize(
    ("layout", "change", "says"),
    [
        ("smp", {"model.shortcut.scale": 0.5}, "config.model.shortcut.scale=0.5"),
        ("smp", {"model.branch.scale": (1.0, 1, 1, 0.0)}, "config.model.branch.scale"),
        ("smp", {"model.weight_standardization": True}, "weight_standardization=True"),
        ("smp", {"model.backbone.multi_grid": (2,)}, "multi_grid=(2,), expected ()"),
        ("smp", {"model.norm": "group"}, "batch_stats/backbone"),
        ("smp", {"model.shortcut.transition": "D"}, "transition 'D'"),
        ("smp", {"model.backbone.block": "ghost"}, "block='ghost': choose from basic"),
        ("smp", {"model.branch.learn": "scalar"}, "left over: params/backbone/stage1"),
        ("timm", {}, "head='unet'"),
        ("torchvision", {}, "head='unet': choose from , fcn, deeplabv3"),
    ],
)
def test_a_network_that_torch_has_not_is_refused(layout, change, says):
    overrides = LAYOUTS["smp"].overrides(UNET) | change
    config = load_config(BASE, overrides)
    with pytest.raises(UserError, match="has no such network") as error:
        to_torch(layout, config, made(config))
    assert says in str(error.value)


@pytest.mark.parametrize(
    ("layout", "change", "parts", "says"),
    [
        ("torchvision", {"model.head.name": "unet"}, {"head": {}}, "head 'unet' on"),
        ("torchvision", {"model.shortcut.transition": "A"}, {}, "transition 'A'"),
        ("timm", {}, {}, "its backbone is mobilenetv2, expected a ResNet"),
    ],
)
def test_a_mobilenet_that_a_library_has_not_is_refused(layout, change, parts, says):
    overrides = {"model.backbone.layout": "mobilenetv2", "model.head.name": "fcn"}
    config = load_config(BASE, overrides | change)
    with pytest.raises(UserError, match="has no such network") as error:
        to_torch(layout, config, {"params": parts})
    assert says in str(error.value)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"model.backbone.output_stride": 16}, "output_stride=16, expected 8"),
        ({"model.backbone.dilation": "uniform"}, "dilation='uniform'"),
        ({"model.head.align_corners": True}, "align_corners=True, expected False"),
        ({"model.head.rates": (6, 12, 18)}, "missing: params/head/pyramid/rate"),
        ({"model.backbone.variant": "v1"}, "stride on '1x1'"),
    ],
)
def test_what_shapes_do_not_tell_must_be_torchs_too(change, says):
    architecture = Architecture(
        (1, 1, 1, 1), "bottleneck", width=8, head="deeplabv3", num_classes=3
    )
    config = load_config(BASE, LAYOUTS["torchvision"].overrides(architecture) | change)
    with pytest.raises(UserError) as error:
        to_torch("torchvision", config, made(config))
    assert says in str(error.value)


def made(config):
    """Shapes of the variables of a config stand for their values."""
    import jax

    model = network(config, 3, True)
    images = jax.ShapeDtypeStruct((1, 64, 64, 3), np.float32)
    return jax.eval_shape(model.init, jax.random.key(0), images)


def test_ones_per_block_are_as_good_as_one():
    overrides = LAYOUTS["smp"].overrides(UNET)
    config = load_config(BASE, overrides | {"model.shortcut.scale": (1.0,) * 4})
    _, variables = from_torch("smp", state_dict("smp", UNET))
    assert to_torch("smp", config, variables)


@pytest.mark.parametrize("suffix", ["safetensors", "npz"])
def test_files_give_their_tensors_back(tmp_path, suffix):
    wanted, file = state_dict(), tmp_path / f"weights.{suffix}"
    save(file, wanted)
    found = read_weights(file)
    assert found.keys() == wanted.keys()
    for name, array in wanted.items():
        np.testing.assert_array_equal(found[name], array)


def save(file, tensors):
    if file.suffix == ".npz":
        np.savez(file, **tensors)
    else:
        safetensors.numpy.save_file(tensors, file)


@pytest.mark.parametrize("suffix", ["safetensors", "npz"])
@pytest.mark.parametrize("kept", [0, 5, 1000, -10])
def test_a_truncated_file_is_refused_in_one_line(tmp_path, suffix, kept):
    file = tmp_path / f"weights.{suffix}"
    save(file, state_dict())
    file.write_bytes(file.read_bytes()[:kept])
    with pytest.raises(UserError, match=rf"weights\.{suffix}: ") as error:
        read_weights(file)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("none.safetensors", "no such file"),
        ("weights.tar", "choose from .safetensors"),
        ("weights", "choose from .safetensors"),
    ],
)
def test_a_file_of_no_known_kind_or_none_is_refused(tmp_path, name, says):
    with pytest.raises(UserError, match=says):
        read_weights(tmp_path / name)


def test_without_torch_a_pth_file_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)  # importing it raises ImportError
    (tmp_path / "weights.pth").write_bytes(b"")
    with pytest.raises(UserError, match=r"resseg\[interop\].*safetensors"):
        read_weights(tmp_path / "weights.pth")
