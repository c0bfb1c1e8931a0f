"""Cotangents at the forks of toy stacks against analytic answers, in float64."""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from resseg.gradients.analysis.factors import multiplied
from resseg.gradients.analysis.rows import ROWS, pulled_back, with_rows, zero_sinks
from resseg.gradients.fork import Fork


@pytest.fixture(autouse=True)
def float64():
    with jax.enable_x64(True):
        yield


class Stack(nn.Module):
    """x <- c_l x + w_l h_l(x), each block behind a fork; h_l(x) = branch(A_l, x)."""

    c: tuple[float, ...]
    w: tuple[float, ...]
    branch: str = "linear"

    @nn.compact
    def __call__(self, x, matrices):
        for i, (c, w) in enumerate(zip(self.c, self.w, strict=True)):
            fork = Fork("block", ("shortcut", "branch"), name=f"block{i}")
            shortcut, h = fork(x)
            if self.branch == "prenorm":
                h = h / jnp.sqrt(jnp.mean(h * h))
            h = matrices[i][0] @ h
            if self.branch == "relu":
                h = matrices[i][1] @ nn.relu(h)
            x = c * shortcut + w * h
        return x


def constant(c, w, blocks, branch="linear"):
    return Stack((c,) * blocks, (w,) * blocks, branch)


def run(stack, matrices, x, cotangent, factors=None):
    """Output, and per block |g_l| / |g_L| as the sinks measure it."""
    names = [f"block{i}" for i in range(len(stack.c))]
    variables = {"paths": multiplied(paths_of(stack), factors or {})}

    def loss(sinks, row):
        y = with_rows(stack.apply, sinks, (), 0, variables, x, matrices)
        return jnp.vdot(y, cotangent) * row, y

    def one(row):
        return jax.grad(loss, has_aux=True)(zero_sinks(names), row)

    measured, y = jax.vmap(one, axis_name=ROWS)(jnp.ones(1))
    norms = jnp.stack([measured[name].norm[0] for name in names])
    return y[0], norms / jnp.linalg.norm(cotangent)


def paths_of(stack):
    """The collection with every factor 1, in float64."""
    ones = {"shortcut": jnp.ones(()), "branch": jnp.ones(())}
    return {f"block{i}": dict(ones) for i in range(len(stack.c))}


def signals(n, draws=None):
    shape = (2, n) if draws is None else (2, draws, n)
    return np.random.default_rng(0).standard_normal(shape)


def orthogonal(n, blocks, draws):
    """Haar: `[draws, blocks, 1, n, n]`."""
    drawn = np.random.default_rng(1).standard_normal((draws, blocks, 1, n, n))
    q, r = np.linalg.qr(drawn)
    return q * np.sign(np.diagonal(r, axis1=-2, axis2=-1))[..., None, :]


def identity(n, blocks):
    return np.broadcast_to(np.eye(n), (blocks, 1, n, n))


def mean_squares(stack, matrices, n):
    """Over draws: E |x_L|^2 / |x_0|^2, and per block E |g_l|^2 / |g_L|^2."""
    x, cotangent = signals(n, len(matrices))
    y, ratios = jax.jit(jax.vmap(lambda *a: run(stack, *a)))(matrices, x, cotangent)
    forward = np.mean(np.sum(y**2, 1) / np.sum(x**2, 1))
    return forward, np.mean(ratios**2, 0)


def test_identities_multiply_up():
    """O1: the product over k >= l of |c_k + w_k|."""
    c, w = (1.0, 0.5, -0.25, 1.5, 1.0), (0.5, 1.0, 2.0, -0.5, 0.0)
    _, ratios = run(Stack(c, w), identity(4, 5), *signals(4))
    factors = np.abs(np.add(c, w))
    np.testing.assert_allclose(ratios, np.cumprod(factors[::-1])[::-1], rtol=1e-12)


def test_a_plain_orthogonal_stack_keeps_every_norm():
    """O2."""
    (x, cotangent), matrices = signals(8), orthogonal(8, 6, 1)[0]
    y, ratios = run(constant(0.0, 1.0, 6), matrices, x, cotangent)
    np.testing.assert_allclose(ratios, 1, rtol=1e-12)
    np.testing.assert_allclose(np.linalg.norm(y), np.linalg.norm(x), rtol=1e-12)


def test_backward_factors_scale_the_gradient_and_leave_every_bit_of_the_value():
    """O3: the product of alpha c + gamma w; a sweep under vmap is the loop."""
    stack, (x, cotangent) = constant(0.75, 0.5, 6), signals(4)
    names = [f"block{i}" for i in range(6)]

    @jax.jit
    def scaled(alpha, gamma):
        factors = {(name, "shortcut"): alpha for name in names}
        factors |= {(name, "branch"): gamma for name in names}
        return run(stack, identity(4, 6), x, cotangent, factors)

    plain, _ = scaled(1.0, 1.0)
    alphas, gammas = np.array([[1, 1], [0.3, 1], [1, 0], [0, 0.7], [2, -0.1]]).T
    swept, together = jax.vmap(scaled)(alphas, gammas)
    for i, (alpha, gamma) in enumerate(zip(alphas, gammas, strict=True)):
        value, ratios = scaled(alpha, gamma)
        np.testing.assert_array_equal(value, plain)
        np.testing.assert_allclose(swept[i], plain, rtol=1e-15)
        expected = np.abs(alpha * 0.75 + gamma * 0.5) ** (6 - np.arange(6))
        np.testing.assert_allclose(ratios, expected, rtol=1e-12)
        np.testing.assert_allclose(together[i], ratios, rtol=1e-14)


@pytest.mark.parametrize(("c", "w"), [(1.0, 0.5), (-1.0, 0.5)])
@pytest.mark.parametrize("theta", [0.3, math.pi / 2])
def test_a_rotation_splits_by_c_and_w_at_its_angle(c, w, theta):
    """O4: g = g_s + g_r; |g_s| / |g_r| = |c / w|; cos = sign(c w) cos theta, measured
    as the inner product it is: right at a right angle too.
    """
    turn = [[math.cos(theta), -math.sin(theta)], [math.sin(theta), math.cos(theta)]]
    matrices = np.broadcast_to(np.kron(np.eye(2), turn), (3, 1, 4, 4))
    stack, (x, cotangent) = constant(c, w, 3), signals(4)
    parts = []
    for cut in (None, "branch", "shortcut"):
        factors = {("block0", cut): 0.0} if cut else {}
        variables = {"paths": multiplied(paths_of(stack), factors)}
        parts.append(
            jax.grad(lambda x, v: jnp.vdot(stack.apply(v, x, matrices), cotangent))(
                jnp.asarray(x), variables
            )
        )
    total, shortcut, branch = map(np.asarray, parts)
    np.testing.assert_allclose(total, shortcut + branch, rtol=1e-13)
    norms = np.linalg.norm(shortcut), np.linalg.norm(branch)
    np.testing.assert_allclose(norms[0] / norms[1], abs(c / w), rtol=1e-13)
    cosine = shortcut @ branch / (norms[0] * norms[1])
    np.testing.assert_allclose(cosine, np.sign(c * w) * math.cos(theta), atol=1e-13)


def test_independent_orthogonal_branches_add_squares():
    """O6: E ratio^2 = (c^2 + w^2)^(L - l); 5.96 at the first of 8 blocks."""
    n, blocks = 16, 8
    matrices = orthogonal(n, blocks, 4000)
    _, squares = mean_squares(constant(1.0, 0.5, blocks), matrices, n)
    np.testing.assert_allclose(squares, 1.25 ** (blocks - np.arange(8)), rtol=0.03)


@pytest.mark.parametrize("depth_scaled", [False, True])
def test_rectified_branches_grow_signal_and_gradient_alike(depth_scaled):
    """O7: (1 + beta^2) per block, forward and backward; beta = L^(-1/2) tends to e."""
    n, blocks, draws = 64, 6, 300
    beta = blocks**-0.5 if depth_scaled else 1.0
    rng = np.random.default_rng(2)
    matrices = rng.standard_normal((draws, blocks, 2, n, n)) / np.sqrt(n)
    matrices[:, :, 0] *= np.sqrt(2)
    forward, squares = mean_squares(constant(1.0, beta, blocks, "relu"), matrices, n)
    growth = (1 + beta**2) ** blocks
    np.testing.assert_allclose([forward, squares[0]], growth, rtol=0.05)
    if depth_scaled:
        assert growth < math.e


def test_normalised_branches_grow_linearly():
    """O8: E rms_l^2 = 1 + l and E ratio^2 = (L + 1) / (l + 1), up to O(1/n)."""
    n, blocks = 64, 15
    matrices = orthogonal(n, blocks, 200)
    stack = constant(1.0, 1.0, blocks, "prenorm")
    x, cotangent = signals(n, len(matrices))
    x /= np.sqrt(np.mean(x**2, 1, keepdims=True))
    y, ratios = jax.jit(jax.vmap(lambda *a: run(stack, *a)))(matrices, x, cotangent)
    np.testing.assert_allclose(np.mean(y**2), 1 + blocks, rtol=0.04)
    expected = (blocks + 1) / (np.arange(blocks) + 1)
    np.testing.assert_allclose(np.mean(ratios**2, 0), expected, rtol=0.06)


@pytest.mark.parametrize(
    ("bias", "survival"), [(0, 5.55e-17), (-3, 0.0725), (-6, 0.875), (-7, 0.952)]
)
def test_frozen_gates(bias, survival):
    """O10: 1 through identities whatever the gate; through 54 shortcuts alone what
    survives is (1 - t)^54, the part of the gradient of length 0.
    """
    t, blocks, n = 1 / (1 + math.exp(-bias)), 54, 2
    stack = constant(1 - t, t, blocks)
    matrices, (x, cotangent) = identity(n, blocks), signals(n)
    _, ratios = run(stack, matrices, x, cotangent)
    np.testing.assert_allclose(ratios, 1, rtol=1e-12)
    names = [f"block{i}" for i in range(blocks)]

    def loss(x):
        y = with_rows(
            stack.apply, {}, names, 0, {"paths": paths_of(stack)}, x, matrices
        )
        return jnp.vdot(y, cotangent)

    _, rows = pulled_back(loss, jnp.asarray(x), 0)
    left = np.linalg.norm(rows[0]) / np.linalg.norm(rows[-1])
    np.testing.assert_allclose(left, (1 - t) ** blocks, rtol=1e-11)
    np.testing.assert_allclose(left, survival, rtol=5e-3)


def test_frozen_gates_on_orthogonal_branches_lose_gradient():
    """O10: E ratio^2 = ((1 - t)^2 + t^2)^(L - l)."""
    t, blocks, n = 0.3, 6, 16
    _, squares = mean_squares(constant(0.7, t, blocks), orthogonal(n, blocks, 2000), n)
    expected = ((1 - t) ** 2 + t**2) ** (blocks - np.arange(blocks))
    np.testing.assert_allclose(squares, expected, rtol=0.03)


class LinearUNet(nn.Module):
    """Scalars e down and d up per level, kappa on each additive skip."""

    down: float = 0.8
    up: float = 1.3
    scales: tuple[float, ...] = (1.0, 0.7, 0.5)

    @nn.compact
    def __call__(self, x):
        skips = []
        for i in range(len(self.scales)):
            skip, x = Fork("long_skip", ("skip", "deeper"), name=f"long_skip_{i}")(x)
            skips.append(skip)
            x = self.down * x
        for skip, scale in zip(skips[::-1], self.scales[::-1], strict=True):
            x = self.up * x + scale * skip
        return x


def test_each_long_skip_carries_its_share_to_the_input():
    """O19: skip i contributes kappa_i (e d)^i, the bottleneck (e d)^D."""
    net, (x, cotangent) = LinearUNet(), signals(4)
    ones = {"skip": jnp.ones(()), "deeper": jnp.ones(())}
    paths = {f"long_skip_{i}": dict(ones) for i in range(3)}

    def gradient(factors):
        variables = {"paths": multiplied(paths, factors)}
        loss = lambda x: jnp.vdot(net.apply(variables, x), cotangent)  # noqa: E731
        return np.asarray(jax.grad(loss)(jnp.asarray(x)))

    cut = {(f"long_skip_{i}", "skip"): 0.0 for i in range(3)}
    both = net.down * net.up
    routes = [gradient(cut)]
    np.testing.assert_allclose(routes[0], both**3 * cotangent, rtol=1e-12)
    for i, scale in enumerate(net.scales):
        alone = {(f"long_skip_{i}", "skip"): 1.0, (f"long_skip_{i}", "deeper"): 0.0}
        routes.append(gradient(cut | alone))
        np.testing.assert_allclose(routes[-1], scale * both**i * cotangent, rtol=1e-12)
    np.testing.assert_allclose(sum(routes), gradient({}), rtol=1e-12)


def test_what_a_concatenation_sends_back_splits_exactly():
    """O20: |g_cat|^2 = |g_skip|^2 + |g_up|^2."""
    rng = np.random.default_rng(5)
    skip, up = rng.standard_normal((2, 1, 4, 4, 3))
    mixing = rng.standard_normal((6, 2))

    def score(merged):
        return jnp.sum(jnp.tanh(merged @ mixing) ** 2)

    def merge(skip, up):
        return jnp.concatenate([skip, up], -1)

    def square(g):
        return float(jnp.sum(g * g))

    parts = jax.grad(lambda *a: score(merge(*a)), argnums=(0, 1))(skip, up)
    whole = jax.grad(score)(merge(skip, up))
    np.testing.assert_allclose(sum(map(square, parts)), square(whole), rtol=1e-14)
