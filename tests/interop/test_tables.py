"""Every architecture has the library's names and shapes, and its module's arrays."""

import json
import lzma

import jax
import numpy as np
import pytest
from drawn import NAMES, SHAPES, VALUES, key
from flax import traverse_util
from jax_side import BASE, flat, network

from resseg.config.load import load_config
from resseg.interop import LAYOUTS, from_torch, tensor_shapes, to_torch
from resseg.interop.architecture import Architecture
from resseg.interop.convert import fitted
from resseg.interop.layers import tensors

KNOWN = {
    at: {name: tuple(shape) for name, shape in shapes.items()}
    for at, shapes in json.loads(lzma.decompress(SHAPES.read_bytes())).items()
}
IDS = [key(*architecture) for architecture in NAMES]
QUICK = (
    "resnet18",
    "mobilenet",
    "resnext50",
    "wide_resnet50",
    "50d",
    "seresnet50",
    "v2",
    "50+aux",
)
TINY = {"stage_sizes": (1, 2, 1, 1), "width": 8, "num_classes": 3}
TINY_NETWORKS = {
    "torchvision": [
        Architecture(block="basic", **TINY),
        Architecture(block="bottleneck", groups=4, group_width=16, **TINY),
        Architecture(block="bottleneck", head="fcn", aux=True, **TINY),
        Architecture(block="bottleneck", head="deeplabv3", head_width=16, **TINY),
        Architecture(block="bottleneck", head="lraspp", head_width=16, **TINY),
    ],
    "timm": [
        Architecture(block="basic", **TINY | {"num_classes": 0}),
        Architecture(block="bottleneck", variant="v1d", **TINY),
        Architecture(block="bottleneck", variant="v1c", **TINY),
        Architecture(block="bottleneck", se_reduction=4, **TINY | {"width": 64}),
        Architecture(block="bottleneck", variant="v2", **TINY),
        Architecture(block="basic", variant="v2", **TINY),
    ],
    "smp": [
        Architecture(block="basic", head="unet", decoder=(9, 8, 7, 6, 5), **TINY),
        Architecture(block="basic", head="deeplabv3", head_width=16, **TINY),
        Architecture(block="bottleneck", head="deeplabv3plus", **TINY),
        Architecture(block="basic", head="fpn", **TINY),
        Architecture(
            block="basic",
            head="pspnet",
            **TINY | {"stage_sizes": (2, 2)},
            unused=(2, 2),
            head_width=16,
        ),
    ],
}
TINY_CASES = [
    pytest.param(layout, one, id=f"{layout}-{one.block}-{one.variant}-{one.head}")
    for layout, them in TINY_NETWORKS.items()
    for one in them
]


def rows(layout, architecture):
    """Those that have a place here."""
    table = LAYOUTS[layout].layers(architecture)
    return [each for layer in table for each in tensors(layer) if each.path]


def drawn_variables(layout, architecture):
    """Random arrays of our shapes, nested, all of them different."""
    generator = np.random.default_rng(0)
    flat_tree = {
        row.path: generator.standard_normal(row.ours, np.float32)
        for row in rows(layout, architecture)
    }
    return traverse_util.unflatten_dict(flat_tree, sep="/")


def test_the_fixtures_are_of_every_architecture_and_small():
    assert list(KNOWN) == IDS
    assert {(layout, name) for layout, name, _ in NAMES} == {
        (layout, name)
        for layout, rules in LAYOUTS.items()
        for name in rules.architectures
    }
    assert SHAPES.stat().st_size + VALUES.stat().st_size < 500 * 1024


@pytest.mark.parametrize(("layout", "name", "aux"), NAMES, ids=IDS)
def test_names_and_shapes_are_the_librarys(layout, name, aux):
    found = KNOWN[key(layout, name, aux)]
    rules = LAYOUTS[layout]
    architecture = fitted(rules, rules.architectures[name], found)
    assert architecture.aux == aux
    assert tensor_shapes(layout, architecture) == found


@pytest.mark.parametrize(("layout", "name", "aux"), NAMES, ids=IDS)
def test_an_architecture_is_read_off_its_names_and_shapes(layout, name, aux):
    found, rules = KNOWN[key(layout, name, aux)], LAYOUTS[layout]
    assert rules.read(found) == fitted(rules, rules.architectures[name], found)


@pytest.mark.parametrize(
    ("layout", "name", "aux"),
    [
        pytest.param(*case, id=at, marks=[] if quick else pytest.mark.slow)
        for case, at in zip(NAMES, IDS, strict=True)
        for quick in [any(word in at for word in QUICK)]
    ],
)
def test_the_module_has_exactly_these_arrays(layout, name, aux):
    """Both ways: every array of the network comes from a tensor and none is left."""
    rules = LAYOUTS[layout]
    found = KNOWN[key(layout, name, aux)]
    architecture = fitted(rules, rules.architectures[name], found)
    assert made_by_module(layout, architecture) == {
        row.path: row.ours for row in rows(layout, architecture)
    }


@pytest.mark.parametrize(("layout", "architecture"), TINY_CASES)
def test_other_widths_and_depths_follow_the_same_tables(layout, architecture):
    assert made_by_module(layout, architecture) == {
        row.path: row.ours for row in rows(layout, architecture)
    }


def made_by_module(layout, architecture):
    config = load_config(BASE, LAYOUTS[layout].overrides(architecture))
    model = network(config, architecture.num_classes or 1, bool(architecture.head))
    images = jax.ShapeDtypeStruct((1, 64, 64, 3), np.float32)
    made = jax.eval_shape(model.init, jax.random.key(0), images)
    arrays = flat({name: made[name] for name in ("params", "batch_stats")})
    if not architecture.num_classes:  # the classifier is there, its weights are not
        arrays = {path: a for path, a in arrays.items() if "classifier" not in path}
    return arrays


@pytest.mark.parametrize(("layout", "architecture"), TINY_CASES)
def test_round_trips_are_exact_in_both_directions(layout, architecture):
    variables = drawn_variables(layout, architecture)
    config = load_config(BASE, LAYOUTS[layout].overrides(architecture))
    state_dict = to_torch(layout, config, variables)
    shapes = {name: array.shape for name, array in state_dict.items()}
    assert shapes == tensor_shapes(layout, architecture)
    overrides, back = from_torch(layout, state_dict)
    assert overrides == LAYOUTS[layout].overrides(architecture)
    assert jax.tree.structure(back) == jax.tree.structure(variables)
    for ours, again in zip(
        jax.tree.leaves(variables), jax.tree.leaves(back), strict=True
    ):
        assert again.dtype == np.float32
        np.testing.assert_array_equal(again, ours)
    state_dict_again = to_torch(layout, config, back)
    assert list(state_dict_again) == list(state_dict)
    for name, array in state_dict.items():
        assert state_dict_again[name].dtype == array.dtype
        np.testing.assert_array_equal(state_dict_again[name], array)


def test_a_kernel_lies_as_each_side_wants_it():
    """Not only a permutation that is undone again: the right one."""
    architecture = TINY_NETWORKS["torchvision"][0]
    variables = drawn_variables("torchvision", architecture)
    config = load_config(BASE, LAYOUTS["torchvision"].overrides(architecture))
    tensors_ = to_torch("torchvision", config, variables)
    kernel = variables["params"]["backbone"]["stem"]["conv"]["kernel"]
    assert tensors_["conv1.weight"][5, 2, 3, 6] == kernel[3, 6, 2, 5]
    linear = variables["params"]["classifier"]["kernel"]
    assert tensors_["fc.weight"][2, 7] == linear[7, 2]
    assert tensors_["bn1.num_batches_tracked"].dtype == np.int64


@pytest.mark.parametrize(
    ("layout", "name", "expected"),
    [
        (
            "torchvision",
            "deeplabv3_resnet101",
            {
                "depth": 101,
                "variant": "v1.5",
                "output_stride": 8,
                "dilation": "torchvision",
            },
        ),
        ("torchvision", "resnext50_32x4d", {"groups": 32, "group_width": 4}),
        ("torchvision", "wide_resnet50_2", {"groups": 1, "group_width": 128}),
        ("timm", "resnetv2_50", {"variant": "v2", "depth": 50, "output_stride": 0}),
        ("timm", "resnet50d", {"variant": "v1d"}),
        ("timm", "seresnet50", {"se_reduction": 16}),
        ("smp", "DeepLabV3Plus_resnet34", {"output_stride": 16, "depth": 34}),
    ],
)
def test_overrides_say_what_the_library_builds(layout, name, expected):
    rules = LAYOUTS[layout]
    overrides = rules.overrides(rules.architectures[name])
    for key_, value in expected.items():
        assert overrides[f"model.backbone.{key_}"] == value
