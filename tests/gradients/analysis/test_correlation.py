"""The correlation of gradients, against the stylised networks of O11."""

import math

import numpy as np
import pytest

from resseg.gradients.analysis.correlation import (
    autocorrelation,
    circle,
    line,
    overlap,
    random_pairs,
)

WIDTH, INPUTS, DRAWS = 12, 16, 1500


def stylised(depth, residual, scale):
    """R of backward passes v W_L D_L … with weights of variance 2 / width.

    The masks D are 0 or 1 with equal odds and independent over inputs; the weights are
    shared. `residual` adds the identity to each layer, whose branch has `scale(layer)`.
    """
    rng = np.random.default_rng(depth)
    crosses = squares = 0.0
    for _ in range(DRAWS):
        g = np.tile(rng.normal(size=WIDTH), (INPUTS, 1))
        for layer in range(depth):
            weights = rng.normal(0, np.sqrt(2 / WIDTH), (WIDTH, WIDTH))
            branch = scale(layer) * (g * (rng.random(g.shape) < 0.5)) @ weights
            g = residual * g + branch
        cross, square = overlap(g)
        crosses, squares = crosses + cross, squares + square
    return crosses / squares


@pytest.mark.parametrize("depth", [1, 3, 5])
def test_a_plain_network_halves_the_correlation_with_every_layer(depth):
    found = stylised(depth, 0, lambda layer: 1.0)
    assert found == pytest.approx(0.5**depth, rel=0.1)


@pytest.mark.parametrize("depth", [2, 8])
def test_shortcuts_keep_three_quarters_of_it(depth):
    found = stylised(depth, 1, lambda layer: 1.0)
    assert found == pytest.approx(0.75**depth, rel=0.1)


@pytest.mark.parametrize("depth", [4, 12])
def test_scaled_branches_keep_it_as_one_over_the_root_of_the_depth(depth):
    found = stylised(depth, 1, lambda layer: 1 / np.sqrt(layer + 1))
    exact = math.gamma(depth + 1.5) / (math.gamma(1.5) * math.gamma(depth + 2))
    assert found == pytest.approx(exact, rel=0.05)
    assert exact == pytest.approx(2 / np.sqrt(np.pi * depth), rel=0.25)


def test_overlap_is_the_mean_over_pairs():
    g = np.random.default_rng(0).normal(size=(4, 7))
    off = ~np.eye(4, dtype=bool)
    expected = (g @ g.T)[off].mean(), (g @ g.T)[~off].mean()
    np.testing.assert_allclose(overlap(g), expected)
    assert overlap(np.ones((3, 5))) == (5, 5)


def test_autocorrelation_of_a_wave_is_its_cosine():
    t = 2 * np.pi * np.arange(16) / 16
    wave = np.stack([np.cos(3 * t), np.sin(3 * t)], axis=1)
    expected = np.cos(3 * t[:9])
    for periodic in (True, False):
        found = autocorrelation(wave, periodic=periodic)
        np.testing.assert_allclose(found, expected, atol=1e-12)


def test_only_a_closed_walk_pairs_its_end_with_its_start():
    step = np.array([[1.0]] * 4 + [[-1.0]] * 4)
    np.testing.assert_allclose(
        autocorrelation(step, periodic=True), [1, 0.5, 0, -0.5, -1]
    )
    np.testing.assert_allclose(
        autocorrelation(step, periodic=False), [1, 5 / 7, 2 / 6, -1 / 5, -1]
    )


def test_gradients_of_zero_have_no_correlation():
    assert np.isnan(autocorrelation(np.zeros((6, 2)), periodic=True)).all()


def test_walks_pass_through_their_images():
    a, b = np.random.default_rng(1).normal(size=(2, 3, 4))
    straight, round_ = line(a, b, 5), circle(a, b, 8)
    np.testing.assert_allclose(straight[[0, 2, 4]], [a, (a + b) / 2, b])
    np.testing.assert_allclose(round_[[0, 2, 4, 6]], [a, b, -a, -b], atol=1e-12)


def test_pairs_are_different_images_and_never_the_same_twice():
    pairs = random_pairs(5, 100, seed=0)
    assert len(pairs) == len(set(pairs)) == 10
    assert all(first < second for first, second in pairs)
    assert random_pairs(5, 3, seed=0) == pairs[:3]
