"""Lanczos and Hutchinson on operators whose spectra are known, in float64."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from resseg.gradients.analysis.curvature import hessian_vector_product
from resseg.gradients.analysis.lanczos import lanczos, trace


@pytest.fixture(autouse=True)
def float64():
    with jax.enable_x64(True):
        yield


def operator_of(loss, params):
    """v -> H v on flat vectors, and the number of parameters."""
    flat, unravel = ravel_pytree(params)

    @jax.jit
    def product(v):
        return ravel_pytree(hessian_vector_product(loss, params, {}, unravel(v)))[0]

    return lambda v: np.asarray(product(v)), flat.size


def start(size, dtype=np.float64):
    return np.random.default_rng(0).standard_normal(size).astype(dtype)


def dense(operator, size):
    return np.stack([operator(unit) for unit in np.eye(size)])


def test_a_random_matrix_is_diagonalised():
    rng = np.random.default_rng(1)
    half = rng.standard_normal((30, 30))
    matrix = half + half.T
    found = lanczos(lambda v: matrix @ v, start(30), 30)
    expected = np.linalg.eigvalsh(matrix)[::-1]
    np.testing.assert_allclose(found.values, expected, rtol=1e-9, atol=1e-10)
    np.testing.assert_allclose(found.weights.sum(), 1, rtol=1e-12)
    few = lanczos(lambda v: matrix @ v, start(30), 12)
    for value, residual in zip(few.values, few.residuals, strict=True):
        assert np.abs(expected - value).min() <= residual * (1 + 1e-9) + 1e-10
    assert few.residuals.max() > 1e-3


def test_no_eigenvalue_returns_as_a_copy_of_itself():
    """In float32, where without reorthogonalisation the largest one would."""
    values = np.concatenate([[1000.0], np.linspace(0, 1, 199)]).astype(np.float32)
    found = lanczos(lambda v: values * v, start(200, np.float32), 60)
    assert np.sum(found.values > 500) == 1
    np.testing.assert_allclose(found.values[0], 1000, rtol=1e-5)


def test_iteration_stops_where_the_space_is_exhausted():
    values = np.array([3.0, 3.0, -1.0, -1.0, -1.0])
    found = lanczos(lambda v: values * v, start(5), 5)
    np.testing.assert_allclose(found.values, [3, -1], rtol=1e-12)
    np.testing.assert_allclose(found.residuals, 0, atol=1e-12)


def test_rounding_is_no_further_dimension():
    """In float32: three values and the null space, at one epsilon always a fifth."""
    counts = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        basis = np.linalg.qr(rng.standard_normal((60, 3)))[0].astype(np.float32)
        matrix = (basis * np.float32([5, 2, 1])) @ basis.T
        found = lanczos(
            lambda v, matrix=matrix: matrix @ v,
            rng.standard_normal(60).astype(np.float32),
            30,
        )
        counts.append(len(found.values))
    assert 4 <= np.mean(counts) < 4.6


@pytest.mark.parametrize("blocks", [2, 5])
def test_curvature_of_a_chain_of_scalars(blocks):
    """O14: L (f/s)^2 + (L-1)(f-y) f/s^2 once, -(f-y) f/s^2 L - 1 times."""
    c, w, x, y = 1.0, 0.5, 1.3, 0.2
    s = c + w
    f = s**blocks * x

    def loss(w, _):
        return 0.5 * (jnp.prod(c + w) * x - y) ** 2

    operator, size = operator_of(loss, jnp.full(blocks, w))
    once = blocks * (f / s) ** 2 + (blocks - 1) * (f - y) * f / s**2
    often = -(f - y) * f / s**2
    found = lanczos(operator, start(size), size)
    np.testing.assert_allclose(found.values, [once, often], rtol=1e-10)
    np.testing.assert_allclose(
        np.trace(dense(operator, size)), once + (blocks - 1) * often, rtol=1e-10
    )


def test_curvature_of_linear_regression():
    """O15: sigma_max(X)^2 / N; the trace |X|_F^2 / N for each output."""
    rng = np.random.default_rng(2)
    samples, inputs, outputs = 20, 4, 3
    x = rng.standard_normal((samples, inputs))
    y = rng.standard_normal((samples, outputs))

    def loss(weight, _):
        return 0.5 * jnp.sum((x @ weight - y) ** 2) / samples

    operator, size = operator_of(loss, jnp.zeros((inputs, outputs)))
    found = lanczos(operator, start(size), size)
    largest = np.linalg.svd(x, compute_uv=False)[0] ** 2 / samples
    np.testing.assert_allclose(found.values[0], largest, rtol=1e-10)
    expected = np.sum(x**2) / samples * outputs
    value, error = trace(operator, size, 400, np.random.default_rng(3), np.float64)
    assert abs(value - expected) < 4 * error
    assert error < 0.05 * expected


def test_the_trace_of_a_diagonal_matrix_is_exact():
    values = np.arange(10.0) - 3
    found = trace(lambda v: values * v, 10, 2, np.random.default_rng(0), np.float64)
    np.testing.assert_allclose(found, [values.sum(), 0], atol=1e-14)
    _, error = trace(lambda v: values * v, 10, 1, np.random.default_rng(0), np.float64)
    assert math.isnan(error)


def linear_blocks(depth, layers, n=3):
    """x <- x + W_m … W_1 x, `depth` times, all weights 0, against a random target."""
    rng = np.random.default_rng(4)
    x, target = rng.standard_normal((2, n, 40))

    def loss(weights, _):
        y = x
        for block in range(depth):
            h = y
            for layer in range(layers):
                h = weights[block, layer] @ h
            y = y + h
        return 0.5 * jnp.sum((y - target) ** 2) / x.shape[1]

    weights = jnp.zeros((depth, layers, n, n))
    operator, size = operator_of(loss, weights)
    gradient = np.asarray(jax.grad(loss)(weights, {}))
    return gradient, dense(operator, size), x @ (x - target).T / x.shape[1]


def condition(hessian):
    values = np.abs(np.linalg.eigvalsh(hessian))
    return values.max() / values.min()


def test_two_layers_make_curvature_independent_of_depth():
    """O12: with m = 2 the gradient is 0, and the condition number is that of E x g^T
    at any depth; with m = 1 there is a gradient, and the condition grows with depth.
    """
    for depth in (1, 2, 4):
        gradient, hessian, moment = linear_blocks(depth, 2)
        np.testing.assert_array_equal(gradient, 0)
        np.testing.assert_allclose(condition(hessian), np.linalg.cond(moment))
        values = np.linalg.svd(moment, compute_uv=False)
        np.testing.assert_allclose(np.linalg.eigvalsh(hessian)[-1], values[0])
    single = []
    for depth in (1, 2, 4):
        gradient, hessian, _ = linear_blocks(depth, 1)
        assert np.abs(gradient).max() > 0.1
        single.append(condition(hessian))
    assert single[0] < single[1] < single[2]


@pytest.mark.parametrize("layers", [3, 4])
def test_three_layers_start_on_a_plateau(layers):
    """O12: m >= 3: neither gradient nor curvature."""
    gradient, hessian, _ = linear_blocks(2, layers)
    np.testing.assert_array_equal(gradient, 0)
    np.testing.assert_array_equal(hessian, 0)
