"""Singular values against analytic answers for linear stacks, in float64."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from resseg.gradients.analysis.singular_values import (
    largest_singular_value,
    normal_product,
    random_pull,
    recorded_parts,
)

L, N = 5, 8


@pytest.fixture(autouse=True)
def float64():
    with jax.enable_x64(True):
        yield


def stack(matrix, c, w):
    """x <- c x + w A x, L times."""

    def function(x):
        for _ in range(L):
            x = c * x + w * (matrix @ x)
        return x

    return function


def sigma(function, x, iterations=400):
    product = jax.jit(functools.partial(normal_product, function, x))
    start = jax.random.normal(jax.random.key(3), x.shape, x.dtype)
    return largest_singular_value(product, start, iterations)


def squared_frobenius(function, x, samples=1):
    keys = jax.random.split(jax.random.key(4), samples)
    draws = jax.vmap(functools.partial(random_pull, function, x))
    return np.asarray(jax.jit(draws)(keys))


def point():
    return jax.random.normal(jax.random.key(0), (N,), jnp.float64)


def rotation(theta):
    turn = np.array([[np.cos(theta), -np.sin(theta)], [np.sin(theta), np.cos(theta)]])
    return jnp.asarray(np.kron(np.eye(N // 2), turn))


@pytest.mark.parametrize(("c", "w", "theta"), [(1.0, 0.5, 0.3), (0.5, -1.0, 2.0)])
def test_a_rotation_has_one_singular_value(c, w, theta):
    """O5: (c^2 + w^2 + 2 c w cos theta)^(L/2), n times."""
    function = stack(rotation(theta), c, w)
    expected = (c * c + w * w + 2 * c * w * np.cos(theta)) ** (L / 2)
    found, residual = sigma(function, point(), 3)
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    assert residual < 1e-12
    # J J^T is a multiple of the identity: every draw of the estimator is exact.
    np.testing.assert_allclose(
        squared_frobenius(function, point()), N * expected**2, rtol=1e-12
    )


@pytest.mark.parametrize(("c", "w"), [(1.0, 0.5), (1.0, -0.5)])
def test_a_reflection_has_two(c, w):
    """O5, Householder: |c + w|^L n - 1 times, |c - w|^L once."""
    normal = np.arange(1.0, N + 1)
    normal /= np.linalg.norm(normal)
    function = stack(jnp.asarray(np.eye(N) - 2 * np.outer(normal, normal)), c, w)
    many, one = abs(c + w) ** L, abs(c - w) ** L
    found, residual = sigma(function, point())
    np.testing.assert_allclose(found, max(many, one), rtol=1e-10)
    assert residual < 1e-6
    draws = squared_frobenius(function, point(), 4000)
    expected = (N - 1) * many**2 + one**2
    error = draws.std() / np.sqrt(len(draws))
    assert abs(draws.mean() - expected) < 4 * error + 1e-9
    assert error < 0.05 * expected


def test_the_residual_tells_when_it_has_not_converged():
    matrix = jnp.diag(jnp.linspace(1.0, 0.95, N))
    found, residual = sigma(lambda x: matrix @ x, point(), 2)
    assert residual > 1e-3
    assert found < 1.0
    np.testing.assert_allclose(found, 1.0, rtol=0.05)


def test_of_a_function_that_is_not_linear_it_is_the_jacobian_there():
    kernel = jax.random.normal(jax.random.key(5), (N, 2 * N), jnp.float64)

    def function(x):
        return jnp.tanh(x @ kernel)

    jacobian = np.asarray(jax.jacobian(function)(point()))
    expected = np.linalg.svd(jacobian, compute_uv=False)
    np.testing.assert_allclose(sigma(function, point())[0], expected[0], rtol=1e-6)


def test_a_constant_has_none():
    assert sigma(lambda x: 0.0 * x, point(), 3) == (0.0, 0.0)


class Rescaled(nn.Module):
    """x + s h(x), the scale and the last kernel of h starting at zero."""

    zero: bool

    @nn.compact
    def __call__(self, x):
        init = nn.initializers.normal(1.0)
        zeros = nn.initializers.zeros
        scale = self.param("scale", zeros if self.zero else nn.initializers.ones, ())
        h = jnp.tanh(x @ self.param("kernel", init, (N, N), jnp.float64))
        return x + scale * h


class Net(nn.Module):
    zero: bool = True

    @nn.compact
    def __call__(self, x):
        for i in range(L):
            x = Rescaled(self.zero, name=f"block{i}")(x)
        return x


def test_a_network_that_starts_as_the_identity_has_singular_values_of_one():
    """O13: all of them, as the largest is 1 and so is the mean square; g_l = g_L, the
    gradient inside of the branch is 0, that of its scale <g_L, h_l(x0)>.
    """
    net, x = Net(), point().reshape(1, N)
    variables = net.init(jax.random.key(1), x)
    found, residual = sigma(lambda x: net.apply(variables, x), x, 3)
    np.testing.assert_allclose([found, residual], [1, 0], atol=1e-14)
    square = squared_frobenius(lambda x: net.apply(variables, x), x)
    np.testing.assert_allclose(square, N, rtol=1e-14)
    top = jax.random.normal(jax.random.key(2), (1, N), jnp.float64)
    gradient = jax.grad(lambda p: jnp.sum(net.apply(p, x) * top))(variables)["params"]
    for name, block in gradient.items():
        np.testing.assert_array_equal(block["kernel"], 0)
        h = jnp.tanh(x @ variables["params"][name]["kernel"])
        np.testing.assert_allclose(block["scale"], jnp.sum(top * h), rtol=1e-12)


def test_parts_of_a_network_are_functions_of_their_own():
    net, x = Net(zero=False), point().reshape(1, N)
    variables = net.init(jax.random.key(1), x)
    modules, inputs = recorded_parts(net.apply, (Rescaled,), variables, x)
    assert list(modules) == list(inputs) == [f"block{i}" for i in range(L)]
    np.testing.assert_array_equal(inputs["block0"], x)
    for i in range(L):
        here = {"params": variables["params"][f"block{i}"]}
        y = modules[f"block{i}"].apply(here, inputs[f"block{i}"])
        after = inputs[f"block{i + 1}"] if i + 1 < L else net.apply(variables, x)
        np.testing.assert_array_equal(y, after)
    assert len(set(modules.values())) == 1
