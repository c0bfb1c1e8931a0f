"""What each ablation of a block does, forward and backward, against its formula."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny import drawn

from resseg.architecture import GATED, ORDERS, SHORTCUT_KINDS
from resseg.blueprint.blueprint import Blueprint
from resseg.blueprint.network import build_segmenter
from resseg.config import base
from resseg.config.load import load_config
from resseg.gradients.joins import with_addends
from resseg.models.blocks import Block, BlockFactors
from resseg.models.branch import BlockStyle, Branch
from resseg.training.groups import KERNELS, decays

SHAPE = (2, 6, 6, 4)
X = jax.random.normal(jax.random.key(0), SHAPE)
G = jax.random.normal(jax.random.key(1), SHAPE)


def make(kind="identity", factors=None, features=4, **style):
    """A block with its variables: norms perturbed, so that no scale is 1 by chance."""
    block = Block(
        features,
        style=BlockStyle(shortcut=kind, **style),
        factors=BlockFactors(**(factors or {})),
    )
    keys = {"params": jax.random.key(2), "dropout": jax.random.key(3)}
    variables = block.init(keys, X, train=False)
    return block, {name: variables[name] for name in variables if name != "taps"}


def addends(block, variables, train=False, **keywords):
    apply = functools.partial(block.apply, variables, X, train, **keywords)
    y, found = with_addends(apply)
    (parts,) = found.values()
    return y, parts


# W_c · x of every kind, in evaluation: `params` of the block, c times x, the gate.
CARRIED = {
    "identity": lambda params, x, g: x,
    "none": lambda params, x, g: 0 * x,
    "constant": lambda params, x, g: x,
    "learned_scalar": lambda params, x, g: x,
    "learned_channel": lambda params, x, g: x,
    "conv1x1": lambda params, x, g: x @ params["shortcut"]["conv"]["kernel"][0, 0],
    "gate_exclusive": lambda params, x, g: (1 - g) * x,
    "gate_shortcut": lambda params, x, g: (1 - g) * x,
    "dropout": lambda params, x, g: x,
}


@pytest.mark.parametrize("kind", SHORTCUT_KINDS)
def test_a_block_is_its_equation(kind):
    factors = {"shortcut": 0.7, "branch": 0.3, "gate_bias": 0.5}
    block, variables = make(kind, factors, norm="none")
    y, parts = addends(block, variables)
    branch = Branch(4, 1, 1, block.style)
    params, gate = variables["params"], 1.0
    computed = 0.3 * branch.apply({"params": params["branch"]}, X, False)
    if kind in GATED:
        gate = jax.nn.sigmoid(X @ params["gate"]["conv"]["kernel"][0, 0] + 0.5)
    carried = CARRIED[kind](params, 0.7 * X, gate)
    computed = gate * computed if kind == "gate_exclusive" else computed
    np.testing.assert_allclose(y, jax.nn.relu(carried + computed), rtol=1e-5, atol=1e-6)
    assert ("carried" in parts) == (kind != "none")


@pytest.mark.parametrize("order", ORDERS)
def test_norm_and_relu_stand_where_the_order_says(order):
    """Norm of kind none is the addition of a bias, so every step can be written out."""
    block, variables = make(order=order, norm="none")
    params = variables["params"]
    rng = np.random.default_rng(0)
    params = jax.tree.map(lambda p: p + 0.3 * rng.normal(size=p.shape), params)
    y = block.apply(variables | {"params": params}, X, False)
    branch, relu = params["branch"], jax.nn.relu

    def conv(x, i):
        kernel = branch[f"conv{i}"]["kernel"]
        return jax.lax.conv_general_dilated(
            x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )

    def bn(x, i):
        return x + branch[f"norm{i}"]["bias"].reshape(1, 1, 1, -1)

    expected = {
        "post": lambda: relu(X + bn(conv(relu(bn(conv(X, 1), 1)), 2), 2)),
        "linear": lambda: X + bn(conv(relu(bn(conv(X, 1), 1)), 2), 2),
        "bn_after_add": lambda: relu(
            X
            + conv(relu(bn(conv(X, 1), 1)), 2)
            + params["norm_sum"]["bias"].reshape(1, 1, 1, -1)
        ),
        "relu_before_add": lambda: X + relu(bn(conv(relu(bn(conv(X, 1), 1)), 2), 2)),
        "relu_only_pre": lambda: X + bn(conv(relu(bn(conv(relu(X), 1), 1)), 2), 2),
        "pre": lambda: X + conv(relu(bn(conv(relu(bn(X, 1)), 1), 2)), 2),
    }[order]()
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-5)


def pull(block, variables, train=False, **keywords):
    """The value, and the cotangents of input and params for the cotangent G."""

    def apply(params, x):
        return block.apply(variables | {"params": params}, x, train, **keywords)

    y, vjp = jax.vjp(apply, variables["params"], X)
    return y, *vjp(G)


BACKWARD = (
    {"gradient_shortcut": 0.3},
    {"gradient_in": 0.3},
    {"gradient_out": 0.3},
    {"bypass": 1.0},
)


@pytest.mark.parametrize("factors", BACKWARD, ids=lambda f: next(iter(f)))
@pytest.mark.parametrize("order", ["post", "pre"])
def test_backward_factors_leave_the_value_bit_for_bit(order, factors):
    plain, variables = make(order=order)
    y, dparams, dx = pull(plain, variables)
    scaled, scaled_variables = make(order=order, factors=factors)
    same, dparams_scaled, dx_scaled = pull(scaled, scaled_variables)
    np.testing.assert_array_equal(same, y)
    assert np.abs(dx_scaled - dx).max() > 1e-3
    ratio = 0.3 if "gradient_out" in factors else 1.0
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, ratio * b, rtol=1e-4, atol=1e-5),
        dparams_scaled["branch"],
        dparams["branch"],
    )


def test_a_bypassed_block_sends_back_what_its_shortcut_carries():
    block, variables = make(order="pre", factors={"bypass": 1.0, "shortcut": 0.5})
    np.testing.assert_array_equal(pull(block, variables)[2], 0.5 * G)


def test_stochastic_detach_is_all_or_nothing_and_right_on_average():
    style = {"order": "pre", "norm": "none"}
    block, variables = make(factors={"detach_rate": 0.25}, detach=True, **style)
    plain, plain_variables = make(**style)
    y, _, dx = pull(plain, plain_variables)
    through = dx - G  # what the branch sends back

    @jax.jit
    def draw(key):
        value, _, dx = pull(block, variables, True, rngs={"dropout": key})
        return value, dx - G

    values, drawn = zip(*(draw(jax.random.key(i)) for i in range(200)), strict=True)
    np.testing.assert_allclose(values[0], y, rtol=1e-4, atol=1e-5)
    for value in values:
        np.testing.assert_array_equal(value, values[0])
    sent = np.array([np.abs(g).max() > 1e-6 for g in drawn])
    for g, is_sent in zip(drawn, sent, strict=True):
        expected = through / 0.75 if is_sent else 0 * through
        np.testing.assert_allclose(g, expected, rtol=1e-4, atol=1e-5)
    assert 0.65 < sent.mean() < 0.85  # 0.75 within three deviations


@pytest.mark.parametrize(("features", "order"), [(4, "pre"), (8, "post")])
def test_a_preserving_block_keeps_norm_and_direction(features, order):
    plain, variables = make(order=order, features=features)
    block, same = make(order=order, features=features, preserve=True)
    g = jax.random.normal(jax.random.key(5), (*SHAPE[:3], features))

    def back(block, variables):
        y, vjp = jax.vjp(lambda x: block.apply(variables, x, False), X)
        return y, vjp(g)[0]

    (y, dx), (y_same, dx_same) = back(plain, variables), back(block, same)
    np.testing.assert_array_equal(y, y_same)
    norm = np.linalg.norm
    assert norm(dx_same) == pytest.approx(norm(g), rel=1e-5)
    np.testing.assert_allclose(dx_same / norm(dx_same), dx / norm(dx), atol=1e-6)
    zero = jax.vjp(lambda x: block.apply(same, x, False), X)[1](0 * g)[0]
    np.testing.assert_array_equal(zero, 0 * X)


def test_shortcut_dropout_has_a_traced_rate_and_keeps_the_mean():
    block, variables = make("dropout", {"rate": 0.25, "branch": 0.0}, order="pre")
    key = {"dropout": jax.random.key(4)}
    mutable = {"rngs": key, "mutable": ["batch_stats"]}
    y, _ = block.apply(variables, X, True, **mutable)
    kept = np.asarray(y) != 0
    np.testing.assert_allclose(y, np.where(kept, X / 0.75, 0), rtol=1e-6)
    assert 0.6 < kept.mean() < 0.9
    none = jax.tree.map(jnp.copy, variables)
    none["paths"]["shortcut_dropout"]["rate"] = jnp.float32(0.0)
    np.testing.assert_array_equal(block.apply(none, X, True, **mutable)[0], X)
    np.testing.assert_array_equal(block.apply(variables, X, False), X)


def test_fixup_scales_all_but_the_last_kernel_which_is_zero():
    block, variables = make(norm="none", init="fixup", blocks=16, span=3)
    _, plain_variables = make(norm="none", blocks=16, span=3)
    ours, he = variables["params"]["branch"], plain_variables["params"]["branch"]
    for name in ("conv1", "conv2"):  # L^(-1/(2m-2)) for 16 blocks of 3 convolutions
        np.testing.assert_allclose(
            ours[name]["kernel"], 16 ** (-1 / 4) * he[name]["kernel"], rtol=1e-5
        )
    assert not ours["conv3"]["kernel"].any()
    np.testing.assert_array_equal(block.apply(variables, X, False), jax.nn.relu(X))


def test_zero_gamma_starts_every_branch_at_zero_in_any_order():
    for order in ("post", "bn_after_add", "relu_only_pre", "pre"):
        block, variables = make(order=order, init="zero_gamma")
        _, parts = addends(block, variables)
        assert not np.asarray(parts["computed"]).any(), order
        _, dparams, _ = pull(block, variables)
        last = "norm2" if order in ("post", "relu_only_pre") else "conv2"
        leaves = jax.tree.leaves(dparams["branch"][last])
        assert any(np.abs(leaf).max() > 0 for leaf in leaves), order


@pytest.mark.parametrize("span", [1, 2, 3])
def test_a_shortcut_spans_so_many_convolutions(span):
    _, variables = make(span=span)
    names = [n for n in variables["params"]["branch"] if n.startswith("conv")]
    assert len(names) == span


SMALL = {
    "model.backbone.stage_sizes": (1, 2),
    "model.backbone.stage_strides": (2, 2),
    "model.backbone.stem": "3x3",
    "model.backbone.width": 4,
    "data.crop": (16, 16),
}


def paths_of(**keys):
    settings = SMALL | {key.replace("__", "."): value for key, value in keys.items()}
    config = load_config("base", settings)
    model = build_segmenter(config.model, 2)
    variables = drawn(model, jnp.zeros((1, 16, 16, 3)))
    return config, model, variables


def test_coefficients_go_to_their_blocks():
    forms = {
        "model__gradient__shortcut": {"stage2": [0.25, 0.5]},
        "model__shortcut__scale": {"depth": [1.0, 0.4]},
        "model__branch__scale": {"power": -0.5},
        "model__gradient__long_skip": {"stem": 0.5},
    }
    _, _, variables = paths_of(**forms)
    blocks = variables["paths"]["backbone"]
    order = [("stage1", "block1"), ("stage2", "block1"), ("stage2", "block2")]
    got = [
        (
            blocks[stage][block]["fork"]["shortcut"],
            blocks[stage][block]["shortcut_factor"]["factor"],
            blocks[stage][block]["branch_factor"]["factor"],
        )
        for stage, block in order
    ]
    w = 3**-0.5
    np.testing.assert_allclose(
        got, [(1, 1, w), (0.25, 0.7, w), (0.5, 0.4, w)], rtol=1e-6
    )
    assert float(blocks["long_skip_stem"]["skip"]) == 0.5
    assert float(blocks["long_skip_stage1"]["skip"]) == 1.0


def test_schedules_move_their_coefficients_and_no_other():
    config, _, variables = paths_of(
        model__gradient__shortcut={"linear": [1.0, 0.0, 10, 20]}
    )
    blueprint = Blueprint.of(config, 2)
    lines = blueprint.lines(config)
    assert jax.tree.structure(lines) == jax.tree.structure(variables["paths"])
    fork = lines["backbone"]["stage2"]["block1"]["fork"]
    np.testing.assert_array_equal(fork["shortcut"], [1, 0, 10, 20])
    np.testing.assert_array_equal(fork["branch"], [1, 1, 0, 0])
    # The same tracing serves another config of the structure.
    plain, _, variables = paths_of(model__branch__scale=0.5)
    assert_equal(blueprint.paths(plain), variables["paths"])
    fork = blueprint.lines(plain)["backbone"]["stage2"]["block1"]["fork"]
    np.testing.assert_array_equal(fork["shortcut"], [1, 1, 0, 0])


def assert_equal(one, other):
    jax.tree.map(np.testing.assert_array_equal, one, dict(other))


def test_gates_and_factors_are_never_decayed():
    _, _, variables = paths_of(
        model__shortcut__kind="gate_exclusive",
        model__long_skip__kind="gate",
        model__branch__learn="channel",
    )
    mask = decays(KERNELS)(variables["params"])
    decayed = {
        "/".join(entry.key for entry in path)
        for path, yes in jax.tree_util.tree_leaves_with_path(mask)
        if yes
    }
    assert decayed and not any("gate" in name or "factor" in name for name in decayed)
    assert "backbone/stage1/block1/gate/conv" in str(
        sorted(
            "/".join(entry.key for entry in path)
            for path, _ in jax.tree_util.tree_leaves_with_path(mask)
        )
    )


def test_a_gated_long_skip_is_multiplied_by_its_gate():
    _, model, variables = paths_of(model__long_skip__kind="gate")
    images = jax.random.normal(jax.random.key(0), (1, 16, 16, 3))
    open_gates = jax.tree.map(jnp.copy, variables)
    for name, head in open_gates["params"]["head"].items():
        if name.startswith("skip_factor_"):
            head["gate"]["bias"] = head["gate"]["bias"] + 100.0
    given = {name: value for name, value in open_gates.items() if name != "taps"}
    logits = model.apply(given, images)["logits"]
    _, plain, _ = paths_of()
    plain_params = jax.tree.map(jnp.copy, open_gates["params"])
    for name in list(plain_params["head"]):
        if name.startswith("skip_factor_"):
            del plain_params["head"][name]
    expected = plain.apply(given | {"params": plain_params}, images)["logits"]
    np.testing.assert_allclose(logits, expected, rtol=1e-5, atol=1e-6)


def test_base_config_knows_every_ablation():
    assert base.get_config().model.shortcut.kind in SHORTCUT_KINDS
