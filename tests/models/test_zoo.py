"""Rules of the residual zoo, each against its published formula: docs/zoo.md."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util
from tiny import drawn, two_stages

from resseg.architecture import MIXINGS
from resseg.blueprint.blueprint import Blueprint
from resseg.config.load import load_config
from resseg.errors import UserError
from resseg.gradients.coefficients import learned_means
from resseg.gradients.fork import statistics_by_fork
from resseg.gradients.joins import moments, with_addends
from resseg.gradients.mixing import doubly_stochastic
from resseg.gradients.surgery import WITHIN, without_conflict, without_largest_sites
from resseg.models.blocks import Block, BlockFactors
from resseg.models.branch import BlockStyle
from resseg.models.layers import Conv
from resseg.models.resizing import resize
from resseg.models.resnet import Stage
from resseg.models.shortcuts import LongSkip
from resseg.models.stage_layout import StageLayout
from resseg.models.streams import NEAR, StreamMix, mean

WIDTH = 4
SHAPE = (2, 5, 6, WIDTH)
EACH = pytest.mark.parametrize("within", WITHIN)


def normal(seed, shape=SHAPE):
    return jax.random.normal(jax.random.key(seed), shape)


def linear_block(matrix, x, factors=None, **style):
    """y = c x + w A x, on positive signals, and its variables."""
    # One 3x3 behind a ReLU, which positive signals do not see.
    settings = {"order": "pre", "norm": "none", "span": 1} | style
    given = {"factors": factors} if factors else {}
    block = Block(WIDTH, style=BlockStyle(**settings), **given)
    variables = drawn(block, x, train=False)
    kernel = jnp.zeros((3, 3, WIDTH, WIDTH)).at[1, 1].set(jnp.asarray(matrix))
    params = jax.tree.map(
        lambda leaf: kernel if leaf.ndim == 4 else leaf, variables["params"]
    )
    return block, variables | {"params": params}


def without_taps(variables):
    return {name: variables[name] for name in variables if name != "taps"}


def rotation(theta):
    """Of the first two channels and of the last two."""
    turn = np.array([[np.cos(theta), -np.sin(theta)], [np.sin(theta), np.cos(theta)]])
    return np.kron(np.eye(2), turn)


def taps_and_gradient(block, variables, x, g):
    """What the fork measured, and dL/dx, for a cotangent of the output."""

    def loss(taps, x):
        return jnp.vdot(block.apply(variables | {"taps": taps}, x, False), g)

    taps, dx = jax.grad(loss, (0, 1))(variables["taps"], x)
    (statistics,) = statistics_by_fork({"block": taps}).values()
    return statistics, dx


@EACH
@pytest.mark.parametrize("degrees", [60, 120, 170])
def test_conflicting_gradients_lose_what_they_have_of_each_other(degrees, within):
    """At an angle above 90 degrees: norms times its sine, and minus its cosine."""
    theta, w = np.radians(degrees), 0.5
    x, g = jnp.abs(normal(0)) + 0.1, normal(1)
    factors = BlockFactors(branch=w)
    block, variables = linear_block(rotation(theta), x, factors, surgery=within)
    seen, dx = taps_and_gradient(block, variables, x, g)
    norm, cosine = float(jnp.linalg.norm(g)), np.cos(theta)
    shrunk, turned = (np.sin(theta), -1) if degrees > 90 else (1, 1)
    np.testing.assert_allclose(
        np.sqrt(seen.squares), [shrunk * norm, shrunk * w * norm], rtol=1e-5
    )
    inner = turned * cosine * w * (shrunk * norm) ** 2
    np.testing.assert_allclose(seen.inner, inner, rtol=1e-4)
    total = (shrunk * norm) ** 2 * (1 + w**2) + 2 * inner
    np.testing.assert_allclose(jnp.vdot(dx, dx), total, rtol=1e-4)
    plain = linear_block(rotation(theta), x, factors)[0]
    np.testing.assert_array_equal(
        block.apply(variables, x, False), plain.apply(variables, x, False)
    )


def test_conflicts_are_found_where_they_are():
    """In one image of two, or at single pixels."""
    one, other = np.array(normal(2)), np.array(normal(3))
    for within, axes in WITHIN.items():
        _, pull = jax.vjp(lambda x, within=within: without_conflict(x, x, within), one)
        expected = one + other
        inner = (one * other).sum(axes, keepdims=True)
        squares = [(g * g).sum(axes, keepdims=True) for g in (one, other)]
        lost = inner / squares[1] * other + inner / squares[0] * one
        expected = np.where(inner < 0, one + other - lost, one + other)
        (found,) = pull((jnp.asarray(one), jnp.asarray(other)))
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
        if within == "site":
            assert 0 < (inner < 0).mean() < 1
    (found,) = pull((jnp.asarray(one), jnp.zeros(SHAPE)))
    np.testing.assert_array_equal(found, one)  # nothing conflicts with nothing


@pytest.mark.parametrize(("share", "count"), [(0.0, 0), (0.1, 3), (0.99, 29)])
def test_the_largest_sites_of_each_image_send_nothing(share, count):
    x, g = normal(4), normal(5)
    y, pull = jax.vjp(lambda x: without_largest_sites(x, jnp.float32(share)), x)
    np.testing.assert_array_equal(y, x)
    (dx,) = map(np.asarray, pull(g))
    norms = np.linalg.norm(g, axis=-1)
    for image, (found, sent) in enumerate(zip(dx, np.asarray(g), strict=True)):
        gone = ~found.any(-1)
        assert gone.sum() == count
        np.testing.assert_array_equal(found[~gone], sent[~gone])
        if count:
            assert norms[image][gone].min() > norms[image][~gone].max()


def test_a_block_clips_what_it_sends_to_the_block_before():
    x, g = jnp.abs(normal(6)) + 0.1, normal(7)
    factors = BlockFactors(clip_sites=0.2)
    block, variables = linear_block(rotation(0.3), x, factors, clip=True)
    plain, same = linear_block(rotation(0.3), x)
    seen, dx = taps_and_gradient(block, variables, x, g)
    before, whole = taps_and_gradient(plain, same, x, g)
    np.testing.assert_allclose(seen.array, before.array, rtol=1e-6)
    gone = ~np.asarray(dx).any(-1)
    np.testing.assert_array_equal(gone.sum((1, 2)), [6, 6])  # a fifth of 30 pixels
    np.testing.assert_array_equal(dx[~gone], whole[~gone])
    none = variables | {"paths": same["paths"] | {"clip_sites": jnp.float32(0)}}
    _, all_of_it = taps_and_gradient(block, none, x, g)
    np.testing.assert_array_equal(all_of_it, whole)


@EACH
def test_an_orthogonal_branch_adds_squares(within):
    """O31: <h, x> = 0, |y|^2 = |x|^2 + |h|^2; of a branch along x nothing is left."""
    x, axes = jnp.abs(normal(8)) + 0.1, WITHIN[within]
    block, variables = linear_block(normal(9, (WIDTH,) * 2), x, orthogonal=within)
    y, found = with_addends(functools.partial(block.apply, variables, x, False))
    (addends,) = found.values()
    np.testing.assert_array_equal(addends["carried"], x)
    inner = jnp.sum(addends["computed"] * x, axes)
    sizes = [jnp.sqrt(jnp.sum(part**2, axes)) for part in addends.values()]
    assert jnp.abs(inner / (sizes[0] * sizes[1])).max() < 1e-5
    np.testing.assert_allclose(
        jnp.sum(y**2, axes), sizes[0] ** 2 + sizes[1] ** 2, rtol=1e-5
    )
    both = moments(addends)
    assert abs(both.product) < 1e-5 * np.sqrt(both.shortcut * both.branch)
    _, along = linear_block(0.7 * np.eye(WIDTH), x, orthogonal=within)
    np.testing.assert_allclose(block.apply(along, x, False), x, atol=1e-6)


def test_dirac_branches_without_shortcuts_are_the_identity_bit_for_bit():
    """Without norm, on what a ReLU lets through; its gradient is that of nothing."""
    style = BlockStyle(shortcut="none", norm="none", init="dirac", order="post")
    block = Block(WIDTH, style=style)
    x, g = jnp.abs(normal(10)), normal(11)
    variables = drawn(block, x, train=False)
    variables.pop("taps")
    y, pull = jax.vjp(lambda x: block.apply(variables, x, False), x)
    np.testing.assert_array_equal(y, x)
    np.testing.assert_array_equal(pull(g)[0], g)


@pytest.mark.parametrize(("inputs", "features"), [(4, 4), (4, 6), (6, 4)])
@pytest.mark.parametrize("init", ["dirac", "delta_orthogonal"])
def test_an_isometric_start_has_singular_values_of_one(init, inputs, features):
    conv = Conv(features, start=init)
    kernel = drawn(conv, jnp.zeros((1, 5, 6, inputs)))["params"]["kernel"]
    around = np.array(kernel)
    centre = around[1, 1].copy()
    around[1, 1] = 0
    assert not around.any()
    values = np.linalg.svd(centre, compute_uv=False)
    np.testing.assert_allclose(values, 1, rtol=1e-5)
    assert (np.count_nonzero(centre) == min(inputs, features)) == (init == "dirac")


@pytest.mark.parametrize("learn", ["scalar", "channel"])
def test_a_branch_learned_from_zero_is_felt_by_its_factor_alone(learn):
    """O13 of ReZero, SkipInit and LayerScale: J = I, dL/dw = <G, h>, dL/dW = 0."""
    x, g = jnp.abs(normal(19)) + 0.1, normal(20)
    matrix = normal(21, (WIDTH,) * 2)
    factors = BlockFactors(branch=0.0)
    block, variables = linear_block(matrix, x, factors, learn_branch=learn)
    variables = without_taps(variables)

    def run(params, x):
        return block.apply(variables | {"params": params}, x, False)

    y, pull = jax.vjp(run, variables["params"], x)
    params, dx = pull(g)
    np.testing.assert_array_equal(y, x)
    np.testing.assert_array_equal(dx, g)
    each = np.asarray(g, np.float64) * (np.asarray(x, np.float64) @ matrix)
    expected = each.sum() if learn == "scalar" else each.sum((0, 1, 2))
    np.testing.assert_allclose(params["branch_factor"]["factor"], expected, rtol=1e-4)
    assert not np.any(params["branch"]["conv1"]["kernel"])


def test_a_decayed_identity_multiplies_up():
    """A05: c_l = 1 - l / L (1 - c_min) for the blocks l = 1 ... L, branches of zero."""
    least, sizes = 0.4, (2, 2)
    blocks = sum(sizes)
    first = 1 - (1 - least) / blocks
    model = two_stages(
        sizes, 3, "fcn", **{"shortcut.scale": f'{{"depth": [{first}, {least}]}}'}
    )
    paths = drawn(model, jnp.zeros((1, 16, 16, 3)))["paths"]["backbone"]
    found = [
        float(paths[f"stage{i}"][f"block{j}"]["shortcut_factor"]["factor"])
        for i in (1, 2)
        for j in (1, 2)
    ]
    expected = [1 - i / blocks * (1 - least) for i in range(1, blocks + 1)]
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_deepnorm_weighs_the_gradient_of_the_shortcut():
    """A27: LN(a x + h), a = (2N)^(1/4): the fork sees a to 1 whatever the norm does."""
    a = (2 * 6) ** 0.25
    x = jnp.abs(normal(12)) + 0.1
    style = {"order": "bn_after_add", "norm": "group", "span": 1}
    block = Block(WIDTH, style=BlockStyle(**style), factors=BlockFactors(shortcut=a))
    variables = drawn(block, x, train=False)
    kernel = jnp.zeros((3, 3, WIDTH, WIDTH)).at[1, 1].set(rotation(1.0))
    variables["params"]["branch"]["conv1"]["kernel"] = kernel
    seen, _ = taps_and_gradient(block, variables, x, normal(13))
    np.testing.assert_allclose(np.sqrt(seen.squares[0] / seen.squares[1]), a, rtol=1e-5)


@pytest.mark.parametrize("mixing", MIXINGS)
def test_streams_start_as_the_plain_network(mixing):
    """With the weights of it, in value and in gradient."""
    plain = two_stages((3, 1), 3, "fcn")
    model = two_stages(
        (3, 1), 3, "fcn", **{"shortcut.streams": 4, "shortcut.mixing": mixing}
    )
    x = normal(14, (1, 16, 16, 3))
    variables, same = drawn(model, x), drawn(plain, x)
    for tree in (variables, same):
        tree.pop("taps")
    merged = jax.tree.map(jnp.asarray, variables["params"])
    for name, block in same["params"]["backbone"]["stage1"].items():
        merged["backbone"]["stage1"][name].update(block)
    merged["backbone"]["stem"] = same["params"]["backbone"]["stem"]
    merged["backbone"]["stage2"] = same["params"]["backbone"]["stage2"]
    merged["head"] = same["params"]["head"]

    def run(net, variables, params):
        def loss(x):
            given = variables | {"params": params}
            return jnp.sum(jnp.sin(net.apply(given, x)["logits"]))

        return jax.value_and_grad(loss)(x)

    found = run(model, variables, merged)
    expected = run(plain, same, same["params"])
    np.testing.assert_allclose(found[0], expected[0], rtol=1e-5)
    error = jnp.linalg.norm(found[1] - expected[1])
    assert error < 1e-5 * jnp.linalg.norm(expected[1])
    moved = learned_means(variables["params"])
    assert set(moved) == {f"backbone/stage1/block{i} streams kept" for i in (2, 3)}
    least = 1 / (1 + 3 * np.exp(-NEAR))
    for value in moved.values():
        np.testing.assert_allclose(value, 1 if mixing == "free" else least, rtol=1e-5)


def test_what_the_first_block_put_out_comes_back_in_each_later_one():
    """A47: y = (c + w) x + lambda x_0, three times, the gradient of each way to x_0."""
    c, w, share = 0.8, 0.5, 0.3
    model = two_stages(
        (4, 1),
        3,
        "fcn",
        norm="none",
        **{
            "backbone.order": "pre",
            "shortcut.span": 1,
            "shortcut.kind": "constant",
            "shortcut.scale": c,
            "branch.scale": w,
            "shortcut.first": share,
        },
    )
    stage = Stage(
        (WIDTH,) * 4,
        StageLayout(1, (1,) * 4),
        model.backbone.style,
        model.backbone.factors[:4],
        (0.0,) * 4,
    )
    x, g = jnp.abs(normal(22)) + 0.1, normal(23)
    variables = drawn(stage, x, train=False)
    kernel = jnp.zeros((3, 3, WIDTH, WIDTH)).at[1, 1].set(jnp.eye(WIDTH))
    params = jax.tree.map(
        lambda leaf: kernel if leaf.ndim == 4 else leaf, variables["params"]
    )

    def run(taps, x):
        given = variables | {"params": params, "taps": taps}
        y = stage.apply(given, x, False)
        return jnp.vdot(y, g), y

    (taps, dx), y = jax.grad(run, (0, 1), has_aux=True)(variables["taps"], x)
    a = c + w
    deeper, skip = a**3, share * (1 + a + a**2)
    np.testing.assert_allclose(y, (deeper + skip) * a * x, rtol=1e-5)
    np.testing.assert_allclose(dx, (deeper + skip) * a * g, rtol=1e-5)
    seen = statistics_by_fork(taps)["first"]
    norm = float(jnp.linalg.norm(g))
    expected = [skip * norm, deeper * norm]
    np.testing.assert_allclose(np.sqrt(seen.squares), expected, rtol=1e-5)


def test_each_later_block_has_its_own_share_of_the_first():
    keys = {
        "model.backbone.stage_sizes": (2, 2),
        "model.backbone.stage_strides": (2, 2),
        "model.backbone.output_stride": 4,
        "model.shortcut.first": (0.1, 0.2, 0.3, 0.4),
    }
    config = load_config("quickstart", keys)
    blueprint = Blueprint.of(config, 3)
    backbone = blueprint.paths(config)["backbone"]
    found = {
        (stage, block): float(leaves["first"])
        for stage in ("stage1", "stage2")
        for block, leaves in backbone[stage].items()
        if block != "first" and "first" in leaves
    }
    assert found == {
        ("stage1", "block2"): pytest.approx(0.2),
        ("stage2", "block2"): pytest.approx(0.4),
    }
    forks = {fork.name: fork.paths for fork in blueprint.forks(1)}
    assert forks["backbone/stage1/first"] == ("skip", "deeper")


def test_a_block_of_streams_is_its_formula():
    """X' = H X + h_post w F(h_pre X), and what is measured at its fork adds up."""
    n, w = 3, 0.5
    x = jnp.abs(normal(15, (2, 4, 5, n * WIDTH))) + 0.1
    style = BlockStyle(order="pre", norm="none", span=1, streams=n)
    block = Block(WIDTH, style=style, factors=BlockFactors(branch=w), stream=0)
    variables = drawn(block, x, train=False)
    draw, params = np.random.default_rng(0), variables["params"]
    mixing, read, write = draw.normal(size=(n, n)), draw.random(n), draw.normal(size=n)
    turn = rotation(0.7)
    params["stream_mix"]["mixing"] = jnp.asarray(mixing, jnp.float32)
    params["stream_read"]["read"] = jnp.asarray(read, jnp.float32)
    params["stream_write"]["write"] = jnp.asarray(write, jnp.float32)
    kernel = jnp.zeros((3, 3, WIDTH, WIDTH)).at[1, 1].set(turn)
    params["branch"]["conv1"]["kernel"] = kernel
    y, pull = jax.vjp(lambda x: block.apply(without_taps(variables), x, False), x)
    each = np.asarray(x, np.float64).reshape(2, 4, 5, n, WIDTH)
    carried = np.einsum("ij,...jc->...ic", mixing, each)
    signal = np.einsum("j,...jc->...c", read, each) @ turn
    computed = w * np.einsum("i,...c->...ic", write, signal)
    np.testing.assert_allclose(
        y.reshape(each.shape), carried + computed, rtol=1e-5, atol=1e-5
    )
    g = normal(16, x.shape)
    back = np.asarray(g, np.float64).reshape(each.shape)
    over_shortcut = np.einsum("ij,...ic->...jc", mixing, back)
    over_branch = np.einsum("i,...ic->...c", write, back) @ turn.T
    over_branch = w * np.einsum("j,...c->...jc", read, over_branch)
    seen, dx = taps_and_gradient(block, variables, x, g)
    np.testing.assert_allclose(dx, pull(g)[0], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(
        dx.reshape(each.shape), over_shortcut + over_branch, rtol=1e-4, atol=1e-5
    )
    squares = [(part**2).sum() for part in (over_shortcut, over_branch)]
    np.testing.assert_allclose(seen.squares, squares, rtol=1e-5)


def test_doubly_stochastic_mixing_keeps_means_and_grows_no_norm():
    """O30, of one matrix and of the product of many; a free one may grow."""
    n, draw = 4, np.random.default_rng(1)
    mixings = [
        np.asarray(doubly_stochastic(jnp.asarray(draw.normal(size=(n, n)))), np.float64)
        for _ in range(30)
    ]
    for mixing in mixings:
        assert (mixing > 0).all()
        np.testing.assert_allclose(mixing.sum(0), 1, rtol=1e-5)
        np.testing.assert_allclose(mixing.sum(1), 1, rtol=1e-4)
        assert np.linalg.norm(mixing, 2) < 1 + 1e-4
    product = functools.reduce(np.matmul, mixings)
    np.testing.assert_allclose(np.abs(product).sum(1).max(), 1, rtol=1e-3)
    mix = StreamMix(n, True)
    x, g = normal(17, (1, 3, 3, n * 2)), normal(18, (1, 3, 3, n * 2))
    logits = {"params": {"mixing_logits": jnp.asarray(draw.normal(size=(n, n)))}}
    y, pull = jax.vjp(lambda x: mix.apply(logits, x), x)
    for before, after in ((x, y), (g, pull(g)[0])):
        np.testing.assert_allclose(mean(after, n), mean(before, n), atol=1e-5)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        (
            {"model.gradient.surgery": "site", "model.shortcut.kind": "gate_exclusive"},
            "config.model.gradient.surgery='site': a block of kind 'gate_exclusive'",
        ),
        (
            {"model.gradient.surgery": "image", "model.shortcut.kind": "none"},
            "config.model.gradient.surgery='image': impossible without shortcuts",
        ),
        (
            {"model.branch.orthogonal": "image", "model.shortcut.kind": "none"},
            "config.model.branch.orthogonal='image': impossible without shortcuts",
        ),
        (
            {"model.branch.init": "dirac", "model.weight_standardization": True},
            "config.model.branch.init='dirac': standardised kernels",
        ),
        (
            {"model.shortcut.mixing": "doubly_stochastic"},
            "config.model.shortcut.mixing='doubly_stochastic': needs config.model.sh",
        ),
        (
            {"model.shortcut.streams": 2, "model.shortcut.kind": "dropout"},
            "config.model.shortcut.streams=2: is for kind 'identity', not 'dropout'",
        ),
        (
            {"model.shortcut.streams": 2},
            "config.model.shortcut.streams=2: needs a stage of 2 blocks or more",
        ),
        (
            {
                "model.shortcut.streams": 2,
                "model.shortcut.first": 0.1,
                "model.backbone.depth": 18,
            },
            "config.model.shortcut.first=0.1: is for one stream",
        ),
        (
            {"model.gradient.clip_sites": 1.0},
            "config.model.gradient.clip_sites=1.0: expected numbers of 0 or above",
        ),
    ],
)
def test_what_does_not_go_together_is_one_line(keys, message):
    with pytest.raises(UserError) as raised:
        load_config("quickstart", keys)
    assert str(raised.value).startswith(message)


@pytest.mark.parametrize("strength", [0.3, 1.0, 1.7])
def test_a_delta_block_sends_back_all_but_a_share_along_its_direction(strength):
    """Eigenvalues of the shortcut's Jacobian: 1 - b along k, 1 at a right angle."""
    x = jnp.abs(normal(0)) + 0.1
    matrix = np.diag([1.0, 2.0, 3.0, 4.0])
    block, variables = linear_block(matrix, x, delta=strength)
    params = dict(variables["params"])
    params["delta"] = params["delta"] | {"conv": {"kernel": jnp.zeros((1, 1, 4, 2))}}
    variables = variables | {"params": params}
    key = x @ matrix
    key = key / jnp.linalg.norm(key, axis=-1, keepdims=True)
    along = (key * x).sum(-1, keepdims=True)
    y = block.apply(without_taps(variables), x, False)
    np.testing.assert_allclose(y, x - strength * along * key, rtol=1e-5, atol=1e-5)
    for direction, eigenvalue in ((key, 1 - strength), (None, 1.0)):
        g = normal(1)
        g = key if direction is not None else g - (key * g).sum(-1, keepdims=True) * key
        statistics, _ = taps_and_gradient(block, variables, x, g)
        squares = float(jnp.vdot(g, g)) * eigenvalue**2
        assert float(statistics.squares[0]) == pytest.approx(squares, rel=1e-4)


def test_a_delta_block_writes_a_value_in_place_of_what_was_there():
    """At b = 1 the part along k is v, whatever it was."""
    x = jnp.abs(normal(0)) + 0.1
    block, variables = linear_block(np.eye(WIDTH), x, delta=1.0)
    kernel = jnp.zeros((1, 1, WIDTH, 2)).at[..., 1].set(0.5)
    params = dict(variables["params"])
    params["delta"] = params["delta"] | {"conv": {"kernel": kernel}}
    y = block.apply(without_taps(variables | {"params": params}), x, False)
    key = x / jnp.linalg.norm(x, axis=-1, keepdims=True)
    value = 0.5 * x.sum(-1)
    np.testing.assert_allclose((y * key).sum(-1), value, rtol=1e-5)


def test_a_learned_long_skip_is_felt_by_its_product_with_the_gradient():
    """d = u + a e: dL/da = <G, e>, and what flows back into the skip is a G."""
    skip, g = normal(0), normal(1)
    module = LongSkip(0.7, learn="scalar")
    variables = module.init(jax.random.key(0), skip)
    assert "paths" not in variables

    def loss(params, skip):
        return jnp.vdot(module.apply({"params": params}, skip), g)

    gradient, back = jax.grad(loss, (0, 1))(variables["params"], skip)
    assert float(gradient["factor"]) == pytest.approx(
        float(jnp.vdot(g, skip)), rel=1e-5
    )
    np.testing.assert_allclose(back, np.float32(0.7) * g, rtol=1e-6)
    named = {"head": {"skip_factor_stage1": variables["params"]}}
    means = learned_means(named)
    assert {name: float(mean) for name, mean in means.items()} == {
        "head/skip_factor_stage1 kappa": pytest.approx(0.7)
    }


def unet_of(wiring):
    return two_stages((1, 1, 1), 3).head.clone(
        wiring=wiring, skips=("stage1", "stage2")
    )


def test_skips_go_where_the_wiring_says():
    head = unet_of((1, 0))
    sizes = {"stage1": 8, "stage2": 4, "stage3": 2}
    features = {
        name: normal(i, (1, side, side, 4))
        for i, (name, side) in enumerate(sizes.items())
    }
    features["image"] = jnp.zeros((1, 8, 8, 3))
    shallow, deep = head.bind({}).wired("stage1", features), features["stage1"]
    np.testing.assert_array_equal(shallow, resize(features["stage2"], (8, 8)))
    lower = head.bind({}).wired("stage2", features)
    np.testing.assert_array_equal(lower, resize(deep, (4, 4)))
    own = unet_of(()).bind({}).wired("stage2", features)
    assert own is features["stage2"]
    same = unet_of((0, 1)).bind({}).wired("stage2", features)
    assert same is features["stage2"]


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        (
            {"model.head.name": "fpn", "model.long_skip.learn": "scalar"},
            "config.model.long_skip.learn='scalar': is for U-Nets with long skips",
        ),
        (
            {"model.long_skip.wiring": (0, 1, 2, 2)},
            "config.model.long_skip.wiring=(0, 1, 2, 2): expected 0, 1, 2, 3, in any",
        ),
        (
            {"model.long_skip.learn": "scalar", "model.long_skip.kind": "none"},
            "config.model.long_skip.learn='scalar': is for U-Nets with long skips",
        ),
        (
            {
                "model.long_skip.learn": "scalar",
                "model.long_skip.scale": {"linear": [1.0, 0.0, 0, 9]},
            },
            "config.model.long_skip.scale='{\"linear\": [1.0, 0.0, 0, 9]}': is learned",
        ),
        (
            {"model.branch.delta": 1.0, "model.branch.init": "zero_gamma"},
            "config.model.branch.delta=1.0: the direction of a branch that is zero",
        ),
        (
            {"model.branch.delta": 1.0, "model.shortcut.kind": "none"},
            "config.model.branch.delta=1.0: impossible without shortcuts",
        ),
        (
            {"model.branch.delta": 2.0},
            "config.model.branch.delta=2.0: expected 0 or",
        ),
    ],
)
def test_what_has_no_direction_or_level_is_named(keys, message):
    with pytest.raises(UserError) as error:
        load_config("base", {"model.head.name": "unet"} | keys)
    assert str(error.value).startswith(message)


def test_keys_of_a_config_reach_delta_blocks_and_long_skips():
    keys = {
        "model.backbone.depth": 10,
        "model.backbone.width": 4,
        "model.branch.delta": 0.5,
        "model.long_skip.learn": "channel",
        "model.long_skip.wiring": (3, 1, 0, 2),
    }
    network = Blueprint.of(load_config("base", keys), 3, (32, 32))
    assert network.model.backbone.style.delta == 0.5
    assert network.model.head.wiring == (3, 1, 0, 2)
    shapes = {
        name: leaf.shape
        for name, leaf in traverse_util.flatten_dict(
            network.variables["params"], sep="/"
        ).items()
    }
    assert shapes["backbone/stage1/block1/delta/conv/kernel"] == (1, 1, 4, 2)
    # Of the feature that comes, not of the level that it comes to: stage3 has 16.
    assert shapes["head/skip_factor_stem/factor"] == (16,)
