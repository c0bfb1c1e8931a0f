"""Blocks of fewer weights: what they compute, and what they cost by closed formulas."""

from typing import Any

import jax
import numpy as np
import pytest
from flax import traverse_util
from tiny import drawn

from resseg.blueprint.network import build_segmenter
from resseg.blueprint.trace import trace
from resseg.config.load import load_config
from resseg.errors import UserError
from resseg.models.blocks import Block, BlockFactors
from resseg.models.branch import Branch

INPUTS, OUTPUTS, EXPANSION = 6, 10, 3
INNER = EXPANSION * INPUTS
SHAPE = (2, 7, 9, INPUTS)
KINDS = ("depthwise", "inverted", "mbconv", "ghost")


def normal(seed, shape=SHAPE):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def style(block, **settings):
    """The style that a config of that block gives its blocks."""
    keys = {"backbone.block": block, **settings}
    if block != "depthwise":
        keys = {"backbone.expansion": EXPANSION} | keys
    given = {f"model.{key}": value for key, value in keys.items()}
    return build_segmenter(load_config("base", given).model, 3).backbone.style


def convolve(x, kernel, strides=1, dilation=1):
    pad = dilation * (kernel.shape[0] - 1) // 2
    y = jax.lax.conv_general_dilated(
        x,
        kernel,
        (strides, strides),
        [(pad, pad)] * 2,
        rhs_dilation=(dilation, dilation),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=x.shape[-1] // kernel.shape[2],
    )
    return np.asarray(y)


def by_hand(kind, variables, x, strides, dilation):
    """The branch in evaluation, from its variables alone."""
    params, stats = variables["params"], variables["batch_stats"]

    def norm(i, x):
        of, ran = params[f"norm{i}"]["batch"], stats[f"norm{i}"]["batch"]
        y = (x - ran["mean"]) / np.sqrt(ran["var"] + 1e-5)
        return y * of["scale"] + of["bias"]

    def kernel(i, part=""):
        layer = params[f"conv{i}"]
        return (layer[part] if part else layer)["kernel"]

    def relu6(x):
        return np.clip(x, 0, 6)

    def separable(i, x, strides=1):
        x = convolve(x, kernel(i, "depthwise"), strides, dilation)
        return convolve(x, kernel(i, "pointwise"))

    def ghost(i, x):
        y = convolve(x, kernel(i, "primary"))
        cheap = kernel(i, "cheap")
        some = y[..., : cheap.shape[-1]]
        return np.concatenate([y, convolve(some, cheap, 1, dilation)], axis=-1)

    def silu(x):
        return x / (1 + np.exp(-x))

    def squeezed(x):
        def layer(name, y):
            return y @ params["se"][name]["kernel"][0, 0] + params["se"][name]["bias"]

        y = silu(layer("reduce", x.mean((1, 2), keepdims=True)))
        return x / (1 + np.exp(-layer("expand", y)))

    if kind == "depthwise":
        x = np.maximum(norm(1, separable(1, x, strides)), 0)
        return norm(2, separable(2, x))
    if kind == "ghost":
        x = np.maximum(norm(1, ghost(1, x)), 0)
        if strides > 1:
            x = norm(2, convolve(x, kernel(2), strides, dilation))
        last = 3 if strides > 1 else 2
        return norm(last, ghost(last, x))
    act = relu6 if kind == "inverted" else silu
    x = act(norm(1, convolve(x, kernel(1))))
    x = act(norm(2, convolve(x, kernel(2), strides, dilation)))
    if kind == "mbconv":
        x = squeezed(x)
    return norm(3, convolve(x, kernel(3)))


def shapes(module, x):
    return jax.eval_shape(
        lambda key: module.init({"params": key, "dropout": key}, x, False),
        jax.random.key(0),
    )


def some(module, x):
    """Variables as a training would leave them, large enough to reach 6."""
    rng = np.random.default_rng(5)

    def fill(path, leaf):
        drawn = rng.normal(size=leaf.shape).astype(np.float32)
        if path[-1] in ("var", "scale"):
            return 0.5 + np.abs(drawn)
        return drawn / (1 if leaf.ndim == 1 else 2)

    found = shapes(module, x)
    learned = {
        name: traverse_util.path_aware_map(fill, found[name])
        for name in ("params", "batch_stats")
    }
    return learned | {"paths": trace(module, x.shape, train=False).paths()}


@pytest.mark.parametrize(("strides", "dilation"), [(2, 1), (1, 2)])
@pytest.mark.parametrize("kind", KINDS)
def test_a_branch_is_its_formula(kind, strides, dilation):
    x = normal(1)
    branch = Branch(OUTPUTS, strides, dilation, style(kind))
    variables = some(branch, x)
    y = jax.jit(branch.apply, static_argnums=2)(variables, x, False)
    expected = by_hand(kind, variables, x, strides, dilation)
    assert y.shape == expected.shape and np.abs(expected).max() > 1
    np.testing.assert_allclose(y, expected, rtol=2e-5, atol=2e-5)


def weights(kind, strides):
    """(kernels and how many pixels each serves, values normalised), by the papers."""
    i, o, n = INPUTS, OUTPUTS, INNER
    if kind == "depthwise":
        first, second = [(9 * i, 1), (i * o, 1)], [(9 * o, 1), (o * o, 1)]
        return first + second, 2 * o
    if kind == "ghost":
        ends = [(i * n // 2 + 9 * n // 2, strides**2), (n * o // 2 + 9 * o // 2, 1)]
        step = [(9 * n, 1)] * (strides > 1)
        return ends + step, n * (1 + (strides > 1)) + o
    return [(i * n, strides**2), (9 * n, 1), (n * o, 1)], 2 * n + o


@pytest.mark.parametrize("strides", [1, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_parameters_and_multiply_accumulates_are_those_of_the_formula(kind, strides):
    size = (8, 12)
    branch = Branch(OUTPUTS, strides, 1, style(kind))
    traced = trace(branch, (1, *size, INPUTS), train=False)
    kernels, normalised = weights(kind, strides)
    squeeze = 2 * INNER * 1 if kind == "mbconv" else 0  # 6 / 4 channels: one
    params = sum(size for size, _ in kernels) + 2 * normalised + squeeze
    params += INNER + 1 if squeeze else 0
    assert sum(traced.parameters.values()) == params
    pixels = size[0] * size[1] // strides**2
    macs = pixels * sum(size * times for size, times in kernels) + squeeze
    assert sum(traced.macs) == macs


def test_with_expansion_1_the_first_convolution_is_left_out():
    branch = Branch(OUTPUTS, 1, 1, style("inverted", **{"backbone.expansion": 1}))
    params = shapes(branch, normal(1))["params"]
    found = {name: x["kernel"].shape for name, x in params.items() if "conv" in name}
    assert found == {"conv1": (3, 3, 1, INPUTS), "conv2": (1, 1, INPUTS, OUTPUTS)}


@pytest.mark.parametrize("features", [1, 5])
def test_of_an_odd_number_of_channels_one_has_no_ghost(features):
    branch = Branch(features, 1, 1, style("ghost"))
    last = shapes(branch, normal(1))["params"]["conv2"]
    assert last["primary"]["kernel"].shape[-1] == features // 2 + 1
    assert ("cheap" in last) == (features > 1)
    whole = next(c for c in trace(branch, SHAPE, train=False).calls if not c.path)
    assert whole.output == (*SHAPE[:3], features)


@pytest.mark.parametrize("kind", KINDS)
def test_kernels_of_one_channel_keep_the_size_of_a_signal(kind):
    """He's rule for the one channel that such a kernel reaches, not for all of them."""
    branch = Branch(128, 1, 1, style(kind))
    params = drawn(branch, normal(1, (1, 4, 4, 32)), train=False)
    flat: dict[str, Any] = traverse_util.flatten_dict(params["params"], sep="/")
    kernels = {k: x for k, x in flat.items() if x.ndim == 4 and x.shape[:2] == (3, 3)}
    assert kernels
    for name, kernel in kernels.items():
        assert kernel.shape[2] == 1, name
        assert float(kernel.var()) == pytest.approx(2 / 9, rel=0.2), name


@pytest.mark.parametrize("kind", ["depthwise", "ghost"])
def test_behind_the_sum_stands_a_relu_or_of_an_inverted_block_nothing(kind):
    x = normal(1)
    block = Block(INPUTS, style=style(kind), factors=BlockFactors(branch=0.0))
    y = jax.jit(block.apply, static_argnums=2)(some(block, x), x, False)
    np.testing.assert_array_equal(y, x if kind == "ghost" else np.maximum(x, 0))


@pytest.mark.parametrize("shortcut", ["identity", "gate_shortcut", "dropout"])
@pytest.mark.parametrize(("features", "strides"), [(INPUTS, 2), (OUTPUTS, 1)])
def test_transition_none_leaves_the_branch_where_the_shape_changes(
    shortcut, features, strides
):
    settings = {"shortcut.transition": "none", "shortcut.kind": shortcut}
    if shortcut == "identity":
        settings["branch.drop_rate"] = 0.9
    block = Block(features, strides, style=style("inverted", **settings), drop_rate=0.9)
    x = normal(1)
    variables = some(block, x)
    assert set(variables["params"]) == {"branch"}
    assert set(variables["paths"]["fork"]) == {"branch"}
    state = {key: variables[key]["branch"] for key in ("params", "batch_stats")}
    branch = Branch(features, strides, 1, block.style)
    # In training too: nothing is left out of it, there would be nothing left.
    how = {"mutable": ["batch_stats"], "rngs": {"dropout": jax.random.key(0)}}

    @jax.jit
    def both(variables, state):
        return block.apply(variables, x, True, **how), branch.apply(
            state, x, True, **how
        )

    (y, _), (expected, _) = both(variables, state)
    np.testing.assert_array_equal(y, expected)


def test_transition_none_keeps_the_identity_and_the_kernel_in_every_block():
    settings = {"shortcut.transition": "none"}
    same = Block(INPUTS, style=style("inverted", **settings))
    assert set(shapes(same, normal(1))["paths"]["fork"]) == {"shortcut", "branch"}
    every = style("inverted", **settings, **{"shortcut.kind": "conv1x1"})
    assert "shortcut" in shapes(Block(OUTPUTS, 2, style=every), normal(1))["params"]


@pytest.mark.parametrize(
    ("keys", "reason"),
    [
        (
            {"backbone.expansion": 4},
            "config.model.backbone.expansion=4: basic blocks have no such part, set 6 "
            "or block 'inverted' or 'mbconv' or 'ghost'",
        ),
        (
            {"backbone.block": "mbconv", "backbone.se_reduction": 4},
            "config.model.backbone.se_reduction=4: mbconv blocks squeeze and excite "
            "inside already, set 0",
        ),
        (
            {"backbone.block": "ghost", "shortcut.span": 1},
            "config.model.shortcut.span=1: is for basic and depthwise blocks, not "
            "ghost, set 0",
        ),
        (
            {"backbone.block": "depthwise", "branch.init": "dirac"},
            "config.model.branch.init='dirac': depthwise blocks have kernels of one "
            "channel, which have no such start",
        ),
        (
            {"shortcut.transition": "none", "branch.init": "zero_gamma"},
            "config.model.branch.init='zero_gamma': needs a shortcut in each block, "
            "transition 'none' leaves some without",
        ),
        (
            {"shortcut.transition": "none", "branch.shake": "shake_drop"},
            "config.model.branch.shake='shake_drop': transition 'none' leaves blocks "
            "with nothing but what is shaken",
        ),
        (
            {"shortcut.transition": "none", "shortcut.streams": 2},
            "config.model.shortcut.streams=2: transition 'none' is not for them, "
            "set 'B'",
        ),
        (
            {
                "backbone.block": "inverted",
                "backbone.width_factor": 0.5,
                "shortcut.transition": "A",
            },
            "config.model.shortcut.transition='A': a width_factor below 1 loses "
            "channels, which 'A' cannot",
        ),
    ],
)
def test_what_a_block_cannot_have_is_refused_in_one_line(keys, reason):
    with pytest.raises(UserError) as error:
        load_config("base", {f"model.{key}": x for key, x in keys.items()})
    assert str(error.value) == reason
