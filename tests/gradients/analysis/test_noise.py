"""The noise scale against gradients whose distribution is known (O27)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from resseg.gradients.analysis.noise import (
    WHOLE,
    Noise,
    no_moments,
    noise_by_block,
    noise_scale,
    two_batches,
    with_sample,
)


def tree(vector):
    """As parameters: two blocks of half the entries each."""
    first, second = np.split(np.asarray(vector, np.float64), 2)
    return {
        "backbone": {
            "stage1": {"block1": {"conv": {"kernel": first}}},
            "stage2": {"block1": {"conv": {"kernel": second}}},
        }
    }


def moments_of(vectors):
    moments = no_moments(tree(vectors[0]))
    add = jax.jit(with_sample)
    for vector in vectors:
        moments = add(moments, tree(vector))
    return moments


def test_the_noise_scale_of_gaussian_gradients():
    """sigma^2 d / |mu|^2 = 6.40, and half of it for half the noise; O27."""
    rng = np.random.default_rng(0)
    d, sigma = 100, 0.8
    mu = rng.normal(size=d)
    mu *= np.sqrt(10) / np.linalg.norm(mu)
    noises = []
    with jax.enable_x64(True):
        for _ in range(20):
            sample = mu + sigma * rng.normal(size=(16, d))
            noises.append(noise_by_block(moments_of(sample))[WHOLE])
    scale, error = noise_scale(noises)
    assert sigma**2 * d / 10 == pytest.approx(6.40)
    assert scale == pytest.approx(6.40, rel=0.05)
    assert abs(scale - 6.40) < 3 * error
    assert error < 0.05 * 6.40
    assert np.mean([n.signal for n in noises]) == pytest.approx(10, rel=0.05)
    assert np.mean([n.trace for n in noises]) == pytest.approx(64, rel=0.02)


def test_the_mean_pairwise_cosine_of_gaussian_gradients():
    """|mu|^2 / (|mu|^2 + sigma^2 d) in high dimension; O27."""
    rng = np.random.default_rng(1)
    d, sigma = 4000, 0.05
    mu = rng.normal(size=d)
    mu /= np.linalg.norm(mu)
    with jax.enable_x64(True):
        found = noise_by_block(moments_of(mu + sigma * rng.normal(size=(24, d))))
    assert found[WHOLE].cosine == pytest.approx(1 / (1 + sigma**2 * d), rel=0.02)


def test_every_block_has_the_noise_of_its_own_parameters():
    """Against the sample covariance and the pairs themselves, written out."""
    vectors = np.random.default_rng(2).normal(0.3, 1, size=(5, 8))
    with jax.enable_x64(True):
        found = noise_by_block(moments_of(vectors))
    parts = {
        WHOLE: vectors,
        "backbone/stage1/block1": vectors[:, :4],
        "backbone/stage2/block1": vectors[:, 4:],
    }
    assert set(found) == set(parts)
    for block, part in parts.items():
        trace = part.var(axis=0, ddof=1).sum()
        off = ~np.eye(5, dtype=bool)
        signal = (part @ part.T)[off].mean()
        unit = part / np.linalg.norm(part, axis=1, keepdims=True)
        # Sums of squares are float32, as everywhere.
        np.testing.assert_allclose(
            found[block], [signal, trace, (unit @ unit.T)[off].mean()], rtol=1e-5
        )


def test_two_batches_solve_the_two_equations():
    signal, trace = 3.0, 7.0
    squares = [signal + trace / size for size in (4, 32)]
    np.testing.assert_allclose(two_batches(4, squares[0], 32, squares[1]), (3, 7))


def test_equal_gradients_have_no_noise():
    noise = noise_by_block(moments_of([np.ones(6)] * 3))[WHOLE]
    np.testing.assert_allclose(noise, (6, 0, 1), atol=1e-5)


def test_a_drowned_signal_has_an_infinite_scale():
    assert noise_scale([Noise(-1.0, 2.0, 0.0)])[0] == np.inf
    scale, error = noise_scale([Noise(2.0, 2.0, 0.0), Noise(-1.0, 2.0, 0.0)])
    assert (scale, error) == (4.0, np.inf)
    assert np.isnan(noise_scale([Noise(1.0, 2.0, 0.0)])[1])


def test_the_jackknife_of_a_mean_is_its_standard_error():
    trace = np.array([1.0, 2.0, 4.0, 9.0])
    scale, error = noise_scale([Noise(1.0, t, 0.0) for t in trace])
    np.testing.assert_allclose(scale, trace.mean())
    np.testing.assert_allclose(error, trace.std(ddof=1) / 2)


def test_a_block_without_gradient_has_no_direction():
    vectors = np.array([[1.0, 1, 0, 0], [1, 2, 0, 0]])
    noise = noise_by_block(moments_of(vectors))["backbone/stage2/block1"]
    assert np.isnan(noise.cosine)
    assert (noise.signal, noise.trace) == (0, 0)
    assert jnp.isfinite(noise_by_block(moments_of(vectors))[WHOLE].cosine)
