"""Backbones proved by values: transitions, strides, dilations, starts."""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny import drawn

from resseg.architecture import DEPTHS
from resseg.blueprint.network import build_segmenter
from resseg.blueprint.trace import trace
from resseg.config import base
from resseg.models.blocks import Block, BlockFactors
from resseg.models.branch import BlockStyle, Branch
from resseg.models.layers import Conv
from resseg.models.shortcuts import Shortcut
from resseg.models.stage_layout import stage_layout


def normal(*shape, seed=0):
    return jax.random.normal(jax.random.key(seed), shape)


def backbone(**settings):
    config = base.get_config().model
    config.head.name = "fcn"
    config.update_from_flattened_dict(settings)
    return build_segmenter(config, 2).backbone


def features(net, height, width):
    """Shapes of what a backbone puts out, by stage."""
    images = jax.ShapeDtypeStruct((1, height, width, 3), jnp.float32)
    key = jax.random.key(0)
    found = jax.eval_shape(lambda x: net.init_with_output(key, x, False)[0], images)
    return {stage: feature.shape for stage, feature in found.items()}


def convolutions(module, shape):
    """path -> (convolution, input shape, output shape), of those really called."""
    called = {}

    def record(call, args, kwargs, context):
        y = call(*args, **kwargs)
        if isinstance(context.module, Conv) and context.method_name == "__call__":
            path = "/".join(context.module.path)
            called[path] = (context.module, args[0].shape, y.shape)
        return y

    x = jax.ShapeDtypeStruct(shape, jnp.float32)
    with nn.intercept_methods(record):
        jax.eval_shape(lambda x: module.init(jax.random.key(0), x, False), x)
    return called


def run(module, x, train=False):
    variables = drawn(module, x, seed=1, train=False)
    variables = {name: v for name, v in variables.items() if name != "taps"}
    return variables, module.apply(variables, x, train)


@pytest.mark.parametrize(("height", "width"), [(6, 8), (5, 7)])
def test_shortcut_d_carries_a_constant_image_to_a_constant_one(height, width):
    x = jnp.broadcast_to(normal(1, 1, 1, 4), (2, height, width, 4))
    shortcut = Shortcut("identity", 8, 2, "none", transition="D")
    _, y = run(shortcut, x)
    assert y.shape == (2, math.ceil(height / 2), math.ceil(width / 2), 8)
    np.testing.assert_allclose(y, jnp.broadcast_to(y[:1, :1, :1], y.shape), rtol=1e-5)
    assert jnp.abs(y).min() > 1e-3


def test_shortcut_d_sees_every_pixel_and_b_a_quarter_of_them():
    x = normal(1, 6, 6, 4)

    def seen(transition):
        shortcut = Shortcut("identity", 8, 2, "batch", transition=transition)
        variables, _ = run(shortcut, x)
        gradient = jax.grad(lambda x: (shortcut.apply(variables, x, False) ** 2).sum())
        return np.abs(gradient(x)[0]).max(-1) > 0

    assert seen("D").all()
    even = np.zeros((6, 6), bool)
    even[::2, ::2] = True
    np.testing.assert_array_equal(seen("B"), even)


def test_shortcut_a_takes_every_other_pixel_and_pads_channels_with_zeros():
    x = normal(2, 5, 6, 3)
    shortcut = Shortcut("identity", 8, 2, "batch", transition="A")
    variables, y = run(shortcut, x)
    assert variables == {}
    np.testing.assert_array_equal(y[..., :3], x[:, ::2, ::2])
    np.testing.assert_array_equal(y[..., 3:], 0)
    assert y.shape == (2, 3, 3, 8)
    with pytest.raises(ValueError, match="from 3 to 2 channels"):
        run(Shortcut("identity", 2, 1, "batch", transition="A"), x)


@pytest.mark.parametrize("transition", ["A", "B", "D"])
def test_shortcuts_are_the_identity_where_nothing_changes(transition):
    x = normal(1, 3, 3, 4)
    variables, y = run(Shortcut("identity", 4, 1, "batch", transition=transition), x)
    assert variables == {}
    np.testing.assert_array_equal(y, x)


@pytest.mark.parametrize(("variant", "striding"), [("v1", 1), ("v1.5", 2), ("v2", 2)])
def test_the_variant_says_which_convolution_strides(variant, striding):
    settings = {"backbone.stage_sizes": (1, 2), "backbone.stage_strides": (1, 2)}
    settings |= {"backbone.depth": 50, "backbone.width": 8}
    net = backbone(**settings, **{"backbone.variant": variant})
    called = convolutions(net, (1, 32, 32, 3))
    for block, number in [("stage2/block1", striding), ("stage2/block2", 0)]:
        for i in (1, 2, 3):
            _, before, after = called[f"{block}/branch/conv{i}"]
            assert before[1] // after[1] == (2 if i == number else 1), (block, i)


@pytest.mark.parametrize(("stride_on", "sees_odd"), [("1x1", False), ("3x3", True)])
def test_a_strided_1x1_never_sees_odd_pixels(stride_on, sees_odd):
    x = normal(1, 6, 6, 8)
    odd = x.at[:, 1::2].set(9.0).at[:, :, 1::2].set(9.0)
    style = BlockStyle("bottleneck", stride_on=stride_on)
    branch = Branch(32, 2, 1, style)
    variables, y = run(branch, x)
    assert bool(jnp.any(branch.apply(variables, odd, False) != y)) == sees_odd


# ResNet of 3, 4, 6, 3 blocks; convention, output stride, multi-grid -> what is dilated
DILATIONS = [
    ("torchvision", 32, (), {}),
    ("torchvision", 16, (), {4: (1, 2, 2)}),
    ("torchvision", 8, (), {3: (1, 2, 2, 2, 2, 2), 4: (2, 4, 4)}),
    ("uniform", 16, (), {4: (2, 2, 2)}),
    ("uniform", 8, (), {3: (2, 2, 2, 2, 2, 2), 4: (4, 4, 4)}),
    ("torchvision", 16, (1, 2, 4), {4: (1, 4, 8)}),
    ("uniform", 16, (1, 2, 4), {4: (2, 4, 8)}),
    ("uniform", 32, (1, 2, 4), {4: (1, 2, 4)}),
]


@pytest.mark.parametrize(("convention", "stride", "grid", "dilated"), DILATIONS)
@pytest.mark.parametrize("depth", [34, 50])
def test_dilations_of_the_convolutions_follow_the_convention(
    depth, convention, stride, grid, dilated
):
    net = backbone(
        **{
            "backbone.depth": depth,
            "backbone.output_stride": stride,
            "backbone.dilation": convention,
            "backbone.multi_grid": grid,
        }
    )
    called = convolutions(net, (1, 64, 64, 3))
    spatial = (1, 2) if depth == 34 else (2,)
    for stage, size in enumerate((3, 4, 6, 3), 1):
        expected = dilated.get(stage, (1,) * size)
        for i in spatial:
            path = f"stage{stage}/block%d/branch/conv{i}"
            found = tuple(called[path % (b + 1)][0].dilation for b in range(size))
            assert found == expected, (stage, i)
    elsewhere = [c for path, (c, *_) in called.items() if "/branch/" not in path]
    assert {conv.dilation for conv in elsewhere} == {1}


def test_a_layout_that_cannot_be_is_refused():
    with pytest.raises(ValueError, match="output stride 12"):
        stage_layout("7x7", (1, 2, 2, 2), (2, 2, 2, 2), 12)


@pytest.mark.parametrize(
    ("settings", "stride"),
    [
        *(
            ({"backbone.variant": variant, "backbone.output_stride": stride}, stride)
            for variant, stride in [
                ("v1", 32),
                ("v1.5", 16),
                ("v1c", 8),
                ("v1d", 32),
                ("v1d", 8),
                ("v2", 16),
            ]
        ),
        ({"backbone.depth": 20}, 4),
        ({"backbone.depth": 164, "backbone.variant": "v2"}, 4),
        ({"backbone.depth": 20, "backbone.output_stride": 2}, 2),
        ({"shortcut.transition": "A"}, 32),
        ({"backbone.stem": "3x3", "backbone.stage_strides": (2, 2, 2, 2)}, 16),
    ],
)
def test_the_deepest_feature_has_the_size_over_the_output_stride(settings, stride):
    shapes = features(backbone(**settings), 97, 131)
    (deepest,) = shapes.values()
    assert deepest[1:3] == (math.ceil(97 / stride), math.ceil(131 / stride))


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        ("basic", {}),
        ("bottleneck", {}),
        ("basic", {"norm": "group"}),
        ("bottleneck", {"norm": "none"}),
        ("basic", {"se_reduction": 4}),
    ],
)
def test_a_zero_gamma_pre_activation_block_is_the_identity_bit_for_bit(kind, settings):
    x, v = normal(2, 5, 5, 8), normal(2, 5, 5, 8, seed=3)
    style = BlockStyle(kind, order="pre", init="zero_gamma", **settings)
    block = Block(8, style=style)
    variables, _ = run(block, x)

    def call(x):
        return block.apply(variables, x, True, mutable=["batch_stats"])[0]

    y, tangent = jax.jvp(call, (x,), (v,))
    np.testing.assert_array_equal(y, x)
    np.testing.assert_array_equal(tangent, v)
    np.testing.assert_array_equal(jax.vjp(call, x)[1](v)[0], v)

    def loss(params):
        outputs = block.apply(variables | {"params": params}, x, False)
        return (outputs * v).sum()

    branch = jax.grad(loss)(variables["params"])["branch"]
    last = "conv2" if kind == "basic" else "conv3"
    assert 0 < jnp.abs(branch[last]["kernel"]).max() < jnp.inf
    np.testing.assert_array_equal(branch["conv1"]["kernel"], 0)


@pytest.mark.parametrize("norm", ["batch", "group", "none"])
def test_a_zero_gamma_post_activation_block_is_its_relu(norm):
    x = normal(2, 5, 5, 8)
    block = Block(8, style=BlockStyle(norm=norm, init="zero_gamma"))
    variables, y = run(block, x)
    np.testing.assert_array_equal(y, nn.relu(x))
    branch = jax.grad(
        lambda p: (block.apply(variables | {"params": p}, x, False) ** 3).sum()
    )(variables["params"])["branch"]
    moves = branch["conv2"]["kernel"] if norm == "none" else branch["norm2"][norm]
    assert all(jnp.abs(leaf).max() > 0 for leaf in jax.tree.leaves(moves))


@pytest.mark.parametrize("order", ["post", "pre"])
def test_standardised_weights_carry_a_signal_through_20_blocks(order):
    """Without norm or shortcut. A kernel of mean 0 sees of a rectified signal what
    deviates from its mean: 1 - 1/pi of its square (Brock 2021), at both convolutions.
    """
    style = BlockStyle(order=order, norm="none", shortcut="none", standardized=True)
    block = Block(32, style=style, factors=BlockFactors(branch=1 / (1 - 1 / math.pi)))
    y = x = normal(2, 12, 12, 32)
    key = jax.random.key(1)

    @jax.jit
    def through_one(key, x):
        return block.init_with_output(key, x, False)[0]

    for i in range(20):
        y = through_one(jax.random.fold_in(key, i), y)
    growth = float(jnp.sqrt((y**2).mean() / (x**2).mean()))
    assert 0.2 < growth < 5


@pytest.mark.parametrize("depth", DEPTHS)
def test_plain_networks_of_every_depth_have_one_path_per_block(depth):
    net = backbone(**{"backbone.depth": depth, "shortcut.kind": "none"})
    forks = trace(net, (1, 32, 32, 3), train=False).forks
    sizes, _ = DEPTHS[depth]
    expected = [
        f"stage{stage}/block{block}"
        for stage, size in enumerate(sizes, 1)
        for block in range(1, size + 1)
    ]
    assert [fork.name for fork in forks] == expected
    assert {(fork.kind, fork.paths) for fork in forks} == {("block", ("branch",))}
