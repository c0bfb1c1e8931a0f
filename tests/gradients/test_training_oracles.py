"""Oracles on blocks and train steps: O18, O23, O24, O28, O30, O31, O32, O34, O35."""

import dataclasses
import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from tiny import drawn

from resseg.gradients.analysis.singular_values import (
    largest_singular_value,
    normal_product,
)
from resseg.gradients.blocks import sum_squares_by_block
from resseg.gradients.fork import statistics_by_fork
from resseg.gradients.joins import moments, with_addends
from resseg.models.blocks import Block, BlockFactors
from resseg.models.branch import BlockStyle
from resseg.runs.gradients_table import block_rows
from resseg.training.optim import make_optimizer

WIDTH = 4
# y = x + w relu(x): linear on positive signals once the kernel is the identity.
BARE = BlockStyle(order="pre", norm="none", span=1)


class Chain(nn.Module):
    """Equal blocks, one behind the other."""

    blocks: int
    style: BlockStyle = BARE
    factors: BlockFactors = BlockFactors()
    drop_rate: float = 0.0

    @nn.compact
    def __call__(self, x, train=True):
        for number in range(self.blocks):
            x = Block(
                WIDTH,
                style=self.style,
                factors=self.factors,
                drop_rate=self.drop_rate,
                name=f"block{number + 1}",
            )(x, train)
        return x


@pytest.fixture
def positive():
    return jnp.abs(jax.random.normal(jax.random.key(0), (2, 5, 5, WIDTH))) + 0.1


def identity_kernels(variables, w):
    """Every 3x3 kernel becomes w times the identity."""
    kernel = jnp.zeros((3, 3, WIDTH, WIDTH)).at[1, 1].set(w * jnp.eye(WIDTH))
    params = jax.tree.map(
        lambda leaf: kernel if leaf.shape == kernel.shape else leaf, variables["params"]
    )
    return variables | {"params": params}


@pytest.mark.parametrize("kind", ["stochastic depth", "detached branches"])
def test_dropped_branches_keep_the_mean_and_add_to_the_square(positive, kind):
    """O18: E ratio = (1 + w)^L; E ratio^2 = (1 + 2 w + w^2 / p)^L, p the share kept."""
    w, p, blocks, draws = 0.5, 0.6, 3, 4000
    if kind == "stochastic depth":
        chain = Chain(blocks, drop_rate=1 - p)
    else:
        chain = Chain(
            blocks,
            style=dataclasses.replace(BARE, detach=True),
            factors=BlockFactors(detach_rate=1 - p),
        )
    one = positive[:1]
    variables = identity_kernels(drawn(chain, one, seed=1), w)

    @jax.jit
    @jax.vmap
    def ratio(key):
        y, pull = jax.vjp(
            lambda x: chain.apply(variables, x, rngs={"dropout": key}), one
        )
        (g,) = pull(jnp.ones_like(y))
        return g.ravel()[0], y.ravel()[0] / one.ravel()[0]

    back, forth = ratio(jax.random.split(jax.random.key(5), draws))
    back = np.asarray(back, np.float64)
    square = (1 + 2 * w + w**2 / p) ** blocks
    assert back.mean() == pytest.approx((1 + w) ** blocks, rel=0.02)
    assert (back**2).mean() == pytest.approx(square, rel=0.04)
    if kind == "detached branches":  # backward only: no draw changes the value
        np.testing.assert_allclose(forth, (1 + w) ** blocks, rtol=1e-5)
    else:
        np.testing.assert_allclose(forth, back, rtol=1e-5)


def test_weights_in_front_of_a_norm_feel_no_change_of_their_size():
    """O23: <g_w, w> = 0; g(a w) = g(w) / a. In float64, without the norm's epsilon."""
    with jax.enable_x64(True):
        rng = np.random.default_rng(0)
        x, w = (
            jnp.asarray(rng.normal(size=(64, 6))),
            jnp.asarray(rng.normal(size=(6, 5))),
        )
        target = jnp.asarray(rng.normal(size=(64, 5)))

        def loss(w):
            h = x @ w
            h = (h - h.mean(0, keepdims=True)) / h.std(0, keepdims=True)
            return jnp.sum((jnp.tanh(h) - target) ** 2)

        g = jax.grad(loss)(w)
        inner = jnp.sum(g * w, axis=0)
        np.testing.assert_allclose(inner, 0, atol=1e-12 * float(jnp.abs(g).max()))
        np.testing.assert_allclose(jax.grad(loss)(3.0 * w), g / 3, rtol=1e-10)


def test_the_norm_of_the_blocks_makes_their_kernels_scale_free():
    """O23 of the real block: up to the epsilon of batch norm (1e-5)."""
    chain = Chain(2, style=BlockStyle(order="pre"))
    x = jax.random.normal(jax.random.key(3), (4, 8, 8, WIDTH))
    variables = drawn(chain, x, seed=1)

    def loss(params):
        y, _ = chain.apply(variables | {"params": params}, x, mutable=["batch_stats"])
        return jnp.sum(jnp.tanh(y))

    kernel = variables["params"]["block1"]["branch"]["conv1"]["kernel"]
    g = jax.grad(loss)(variables["params"])["block1"]["branch"]["conv1"]["kernel"]
    cosine = jnp.vdot(g, kernel) / (jnp.linalg.norm(g) * jnp.linalg.norm(kernel))
    assert jnp.linalg.norm(g) > 0.1 and abs(cosine) < 1e-4


@pytest.mark.parametrize("order", ["post", "pre"])
def test_rematerialisation_changes_no_gradient(order):
    """O24."""
    chain = Chain(3, style=BlockStyle(order=order))
    x = jax.random.normal(jax.random.key(3), (4, 8, 8, WIDTH))
    variables = drawn(chain, x, seed=1)

    def gradients(wrap):
        def loss(params, taps):
            def run(params, taps):
                collections = variables | {"params": params, "taps": taps}
                return chain.apply(collections, x, mutable=["batch_stats"])[0]

            return jnp.sum(wrap(run)(params, taps) ** 2)

        return jax.jit(jax.grad(loss, (0, 1)))(variables["params"], variables["taps"])

    stored, again = gradients(lambda f: f), gradients(jax.checkpoint)
    for one, two in zip(stored, again, strict=True):
        difference = jax.tree.map(lambda a, b: a - b, one, two)
        assert optax.tree.norm(difference) <= 1e-6 * optax.tree.norm(one)


def optimizer(name, rate):
    """Of a run: no momentum, no decay, no clipping; Adam's epsilon is 1e-8."""
    return make_optimizer(
        name,
        optax.constant_schedule(rate),
        momentum=0.0,
        b1=0.9,
        b2=0.999,
        weight_decay=0.0,
        backbone_factor=1.0,
        clip_norm=None,
    )


def updates(optimizer, gradients, params):
    change, _ = optimizer.update(gradients, optimizer.init(params), params)
    return change


def test_the_logged_update_ratio_is_that_of_the_optimizer():
    """O28: SGD lr |g| / |w|; the first step of Adam lr sqrt(d) / |w|."""
    rate = 0.01
    rng = np.random.default_rng(1)
    shapes = {
        "backbone": {
            "stem": {"kernel": (3, 3, 2, 4)},
            "stage1": {"block1": {"conv1": {"kernel": (4, 4)}}},
        }
    }
    params = jax.tree.map(
        lambda shape: rng.normal(size=shape),
        shapes,
        is_leaf=lambda node: isinstance(node, tuple),
    )
    gradients = jax.tree.map(lambda w: w * 0.1 + 0.3, params)

    def ratios(optimizer):
        groups = [
            sum_squares_by_block(tree)
            for tree in (params, gradients, updates(optimizer, gradients, params))
        ]
        rows = block_rows(1, *groups)
        return dict(zip(rows["block"], rows["update_ratio"], strict=True)), groups

    with jax.enable_x64(True):
        params, gradients = jax.tree.map(jnp.asarray, (params, gradients))
        plain, (weights, squares, _) = ratios(optimizer("sgd", rate))
        adam, _ = ratios(optimizer("adamw", rate))
    sizes = {"backbone/stem": 72, "backbone/stage1/block1": 16}
    assert set(plain) == set(sizes)
    for name, ratio in plain.items():
        size = np.sqrt(float(weights[name]))
        assert ratio == pytest.approx(rate * np.sqrt(float(squares[name])) / size)
        assert adam[name] == pytest.approx(rate * np.sqrt(sizes[name]) / size)


def test_doubly_stochastic_shortcuts_keep_the_mean_of_their_streams(positive):
    """O30: 1^T H = 1^T and H 1 = 1: the mean of the streams and of their cotangents
    stays, |H|_2 <= 1; a permutation keeps every norm.
    """
    style = BlockStyle(order="pre", norm="none", span=1, shortcut="conv1x1")
    chain = Chain(3, style=style, factors=BlockFactors(branch=0.0))
    rng = np.random.default_rng(0)
    mixing = np.mean([np.eye(WIDTH)[rng.permutation(WIDTH)] for _ in range(3)], axis=0)

    def run(matrix):
        variables = drawn(chain, positive, seed=1)
        del variables["taps"]  # they have no forward mode
        kernel = jnp.asarray(matrix, jnp.float32).reshape(1, 1, WIDTH, WIDTH)
        params = jax.tree.map(
            lambda leaf: kernel if leaf.shape == kernel.shape else leaf,
            variables["params"],
        )
        apply = functools.partial(chain.apply, variables | {"params": params})
        y, pull = jax.vjp(apply, positive)
        g = jax.random.normal(jax.random.key(4), y.shape)
        return apply, y, g, pull(g)[0]

    apply, y, g, back = run(mixing)
    np.testing.assert_allclose(y.mean(-1), positive.mean(-1), rtol=1e-5)
    np.testing.assert_allclose(back.mean(-1), g.mean(-1), atol=1e-5)
    start = jax.random.normal(jax.random.key(0), positive.shape)
    product = functools.partial(normal_product, apply, positive)
    sigma, _ = largest_singular_value(product, start, 30)
    assert sigma == pytest.approx(1, rel=1e-3)  # its largest: the mean itself
    assert jnp.linalg.norm(back) < jnp.linalg.norm(g)
    _, y, g, back = run(np.eye(WIDTH)[[2, 0, 3, 1]])
    np.testing.assert_allclose(jnp.linalg.norm(y), jnp.linalg.norm(positive), rtol=1e-6)
    np.testing.assert_allclose(jnp.linalg.norm(back), jnp.linalg.norm(g), rtol=1e-6)


def test_an_orthogonal_update_adds_squares_and_has_no_cosine():
    """O31, by what is logged of a join: |y|^2 = |x|^2 + |h|^2, cos = 0; and f || x."""
    x, f = jax.random.normal(jax.random.key(0), (2, 3, 5, 5, WIDTH))
    h = f - jnp.vdot(f, x) / jnp.vdot(x, x) * x
    found = moments({"carried": x, "computed": h})
    assert abs(found.product) < 1e-6 * np.sqrt(found.shortcut * found.branch)
    np.testing.assert_allclose(
        jnp.mean((x + h) ** 2), found.shortcut + found.branch, rtol=1e-5
    )
    along = 0.7 * x
    rest = along - jnp.vdot(along, x) / jnp.vdot(x, x) * x
    np.testing.assert_allclose(rest, 0, atol=1e-6)
    found = moments({"carried": x, "computed": along})
    norms = np.sqrt(found.shortcut * found.branch)
    np.testing.assert_allclose(found.product / norms, 1, rtol=1e-6)


def test_what_a_join_is_said_to_add_is_what_it_adds(positive):
    chain = Chain(2)
    variables = identity_kernels(drawn(chain, positive, seed=1), 0.5)
    y, addends = with_addends(chain.apply, variables, positive)
    np.testing.assert_allclose(y, positive * 1.5**2, rtol=1e-6)
    for number, name in enumerate(("block1", "block2")):
        found = moments(addends[name])
        square = float(jnp.mean(positive**2)) * 1.5 ** (2 * number)
        expected = [square, square / 4, square / 2]
        np.testing.assert_allclose(
            [found.shortcut, found.branch, found.product], expected, rtol=1e-5
        )


def test_gamma_in_and_gamma_out_send_the_same_back_and_train_differently(positive):
    """O32: both leave the shortcut alone in dL/dx; of the last block's branch, the
    weights see the whole gradient with gamma_in = 0 and none with gamma_out = 0.
    """

    def of(**factors):
        chain = Chain(2, style=BlockStyle(order="pre"), factors=BlockFactors(**factors))
        variables = drawn(chain, positive, seed=1)

        def loss(params, taps, x):
            collections = variables | {"params": params, "taps": taps}
            y, _ = chain.apply(collections, x, mutable=["batch_stats"])
            return jnp.sum(jnp.sin(y))

        return jax.grad(loss, (0, 1, 2))(
            variables["params"], variables["taps"], positive
        )

    full, into, out = of(), of(gradient_in=0.0), of(gradient_out=0.0)
    np.testing.assert_array_equal(into[2], out[2])
    for measured in (into, out):
        first = statistics_by_fork(measured[1])["block1"]
        shortcut, branch = first.squares
        assert branch == 0 and shortcut == first.total_square
    last = [params["block2"]["branch"] for params, *_ in (full, into, out)]
    jax.tree.map(np.testing.assert_array_equal, last[1], last[0])
    assert any(np.abs(leaf).max() > 0 for leaf in jax.tree.leaves(last[0]))
    jax.tree.map(lambda leaf: np.testing.assert_array_equal(leaf, 0), last[2])


def test_a_sweep_under_vmap_is_the_single_runs(positive):
    """O34: slice i equals run i within 1e-5 after one step."""
    chain = Chain(2, style=BlockStyle(order="post"))
    variables = drawn(chain, positive, seed=1)
    optimizer = optax.adam(1e-2)

    def step(paths):
        def loss(params):
            collections = variables | {"params": params, "paths": paths}
            y, _ = chain.apply(collections, positive, mutable=["batch_stats"])
            return jnp.sum((y - 1) ** 2)

        params = variables["params"]
        change = updates(optimizer, jax.grad(loss)(params), params)
        return optax.apply_updates(params, change)

    def variant(alpha, c):
        paths = jax.tree.map(lambda leaf: leaf, variables["paths"])
        for block in paths.values():
            block["fork"] = block["fork"] | {"shortcut": jnp.float32(alpha)}
            block["shortcut_factor"] = {"factor": jnp.float32(c)}
        return paths

    variants = [variant(*pair) for pair in ((1, 1), (0.5, 1), (0, 1), (1, 0.25))]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *variants)
    together = jax.jit(jax.vmap(step))(stacked)
    singles = [jax.jit(step)(paths) for paths in variants]
    for i, single in enumerate(singles):
        part = jax.tree.map(lambda leaf, i=i: leaf[i], together)
        jax.tree.map(
            functools.partial(np.testing.assert_allclose, atol=1e-5), part, single
        )
    kernels = [s["block1"]["branch"]["conv1"]["kernel"] for s in singles]
    assert np.abs(kernels[0] - kernels[3]).max() > 1e-3


def test_adam_does_not_see_a_factor_on_the_whole_gradient_and_sgd_does():
    """O35."""
    rng = np.random.default_rng(2)
    params, gradients = (
        {"backbone": {"kernel": jnp.asarray(x, jnp.float32)}}
        for x in rng.normal(size=(2, 6, 5)) * [[[1]], [[1e5]]]
    )
    small = jax.tree.map(lambda g: g / 1024, gradients)

    def both(name):
        made = optimizer(name, 1e-3)
        return (
            updates(made, g, params)["backbone"]["kernel"] for g in (gradients, small)
        )

    one, two = both("adamw")
    np.testing.assert_allclose(two, one, rtol=1e-6)
    one, two = both("sgd")
    np.testing.assert_allclose(two, one / 1024, rtol=1e-6)
