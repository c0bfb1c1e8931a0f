"""Path spectra and comparisons of rows against analytic answers, in float64."""

import itertools
import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from resseg.blueprint.trace import trace
from resseg.gradients.analysis.factors import multiplied
from resseg.gradients.analysis.rows import ROWS, pulled_back, with_rows, zero_sinks
from resseg.gradients.fork import Fork

L, N = 6, 5


class Stack(nn.Module):
    """x <- c x + w h(x), L times; h(x) = x, or tanh of a matrix product."""

    c: float = 1.0
    w: float = 1.0
    linear: bool = True

    @nn.compact
    def __call__(self, x, train=False):
        for i in range(L):
            fork = Fork("block", ("shortcut", "branch"), name=f"block{i}")
            shortcut, branch = fork(x)
            if not self.linear:
                init = nn.initializers.normal(0.7)
                kernel = self.param(f"w{i}", init, (N, N), jnp.float64)
                branch = jnp.tanh(branch @ kernel)
            x = self.c * shortcut + self.w * branch
        return x


def names(count=L):
    return [f"block{i}" for i in range(count)]


@pytest.fixture(autouse=True)
def float64():
    with jax.enable_x64(True):
        yield


def prepared(stack):
    x = jax.random.normal(jax.random.key(0), (3, N), jnp.float64)
    variables = stack.init(jax.random.key(1), x)
    variables.pop("taps")
    cotangent = jax.random.normal(jax.random.key(2), (3, N), jnp.float64)

    def loss(variables, x):
        return jnp.sum(stack.apply(variables, x) * cotangent)

    return loss, variables, x, cotangent


def spectrum(stack, longest=L):
    """The gradient at the input by rows, and that of `jax.grad`."""
    loss, variables, x, cotangent = prepared(stack)

    def of_input(x):
        return with_rows(loss, {}, names(), longest, variables, x)

    value, rows = pulled_back(of_input, x, longest)
    assert value == loss(variables, x)
    return np.asarray(rows), np.asarray(jax.grad(loss, 1)(variables, x)), cotangent


@pytest.mark.parametrize(("c", "w"), [(1.0, 1.0), (0.5, -0.3)])
def test_a_scalar_stack_has_a_binomial_spectrum(c, w):
    """O9: g^(k) = C(L, k) c^(L-k) w^k; mean length L w / (c + w)."""
    rows, gradient, cotangent = spectrum(Stack(c, w))
    sizes = np.array([math.comb(L, k) * c ** (L - k) * w**k for k in range(L + 1)])
    expected = sizes.reshape(-1, 1, 1) * np.asarray(cotangent)
    np.testing.assert_allclose(rows[: L + 1], expected, rtol=1e-12, atol=1e-14)
    norms = np.linalg.norm(rows[: L + 1], axis=(1, 2))
    mean = np.sum(np.arange(L + 1) * norms) / norms.sum()
    np.testing.assert_allclose(mean, L * abs(w) / (c + abs(w)), rtol=1e-12)
    np.testing.assert_array_equal(rows[L + 1], 0)
    np.testing.assert_allclose(rows[-1], gradient, rtol=1e-12)


def test_lengths_of_any_network_add_up_to_its_gradient():
    """O9: the sum over k is the gradient; g^(0) = c^L v."""
    rows, gradient, cotangent = spectrum(Stack(0.9, 0.7, linear=False))
    np.testing.assert_allclose(rows[: L + 1].sum(0), gradient, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(rows[0], 0.9**L * cotangent, rtol=1e-12)
    np.testing.assert_allclose(rows[-1], gradient, rtol=1e-12)


@pytest.mark.parametrize("longest", [0, 2, 5])
def test_what_is_longer_stays_together_and_loses_nothing(longest):
    stack = Stack(0.9, 0.7, linear=False)
    full, gradient, _ = spectrum(stack)
    cut, _, _ = spectrum(stack, longest)
    np.testing.assert_allclose(cut[: longest + 1], full[: longest + 1], rtol=1e-12)
    rest = full[longest + 1 : L + 1].sum(0)
    np.testing.assert_allclose(cut[longest + 1], rest, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(cut[: longest + 2].sum(0), gradient, rtol=1e-12)


def test_the_gradient_is_a_polynomial_in_the_factor_of_the_branches():
    """O9: with gamma on every branch g = sum gamma^k g^(k); the other way to get it."""
    stack = Stack(0.9, 0.7, linear=False)
    rows, _, _ = spectrum(stack)
    loss, variables, x, _ = prepared(stack)
    nodes = np.cos(np.pi * (np.arange(L + 1) + 0.5) / (L + 1))  # Chebyshev's

    def scaled(gamma):
        factors = {(name, "branch"): gamma for name in names()}
        paths = jax.tree.map(lambda leaf: leaf.astype(jnp.float64), variables["paths"])
        return jax.grad(loss, 1)(variables | {"paths": multiplied(paths, factors)}, x)

    at_nodes = np.stack([scaled(gamma).ravel() for gamma in nodes])
    coefficients = np.linalg.solve(np.vander(nodes, increasing=True), at_nodes)
    np.testing.assert_allclose(
        coefficients.reshape(rows[: L + 1].shape), rows[: L + 1], atol=1e-11
    )


def test_the_mean_of_all_single_paths_is_the_spectrum():
    """O9, M9: factors of 0 and 1 choose one path; those of length k add up to g^(k)."""
    stack = Stack(0.9, 0.7, linear=False)
    rows, _, _ = spectrum(stack)
    loss, variables, x, _ = prepared(stack)
    choices = np.array(list(itertools.product([0.0, 1.0], repeat=L)))

    @jax.vmap
    def single(taken):
        factors = {}
        for name, branch in zip(names(), taken, strict=True):
            factors |= {(name, "branch"): branch, (name, "shortcut"): 1 - branch}
        paths = multiplied(variables["paths"], factors)
        return jax.grad(loss, 1)(variables | {"paths": paths}, x)

    gradients = np.asarray(single(jnp.asarray(choices)))
    for k in range(L + 1):
        chosen = gradients[choices.sum(1) == k]
        assert len(chosen) == math.comb(L, k)
        np.testing.assert_allclose(chosen.sum(0), rows[k], rtol=1e-11, atol=1e-13)


def test_sinks_hold_norms_and_projections_at_every_fork():
    stack = Stack(0.9, 0.7, linear=False)
    loss, variables, x, _ = prepared(stack)

    def of_sinks(sinks):
        return with_rows(loss, sinks, names(), L, variables, x)

    _, measured = pulled_back(of_sinks, zero_sinks(names()), L)
    rows, gradient, _ = spectrum(stack)
    first = measured["block0"]
    np.testing.assert_allclose(
        first.norm, np.linalg.norm(rows, axis=(1, 2)), rtol=1e-12
    )
    products = (rows * gradient).sum((1, 2)) / (gradient**2).sum()
    np.testing.assert_allclose(first.projection, products, rtol=1e-11, atol=1e-15)
    for statistics in measured.values():
        np.testing.assert_allclose(statistics.projection[: L + 2].sum(), 1, rtol=1e-12)
    # The deepest block has paths of length 0 and 1 and no others.
    np.testing.assert_array_equal(measured["block5"].norm[2 : L + 2], 0)


def test_a_norm_is_right_where_its_square_would_underflow():
    with jax.enable_x64(False):
        tiny = jnp.float32(1e-30)

        def loss(sinks):
            def scaled(x):
                return tiny * Stack().apply(variables, x).sum()

            return with_rows(scaled, sinks, (), 0, jnp.ones((2, N)))

        variables = {
            "paths": Stack().init(jax.random.key(0), jnp.ones((2, N)))["paths"]
        }
        gradient = jax.grad(loss)
        rows = jax.vmap(
            lambda _: gradient(zero_sinks(names())), axis_name=ROWS, axis_size=1
        )(jnp.zeros(1))
        norm, projection = rows["block0"]
    np.testing.assert_allclose(norm, 2.0**L * math.sqrt(2 * N) * 1e-30, rtol=1e-6)
    np.testing.assert_allclose(projection, 1, rtol=1e-6)


def test_without_blocks_that_count_everything_has_length_zero():
    loss, variables, x, _ = prepared(Stack(linear=False))
    _, rows = pulled_back(lambda x: with_rows(loss, {}, (), 1, variables, x), x, 1)
    np.testing.assert_array_equal(rows[0], rows[-1])
    np.testing.assert_array_equal(rows[1:-1], 0)


def test_a_factor_needs_a_fork():
    _, variables, x, _ = prepared(Stack())
    with pytest.raises(KeyError, match="block9"):
        multiplied(variables["paths"], {("block9", "branch"): 0.0})
    assert [fork.name for fork in trace(Stack(), x.shape).forks] == names()
