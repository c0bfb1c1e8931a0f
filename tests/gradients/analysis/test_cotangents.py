"""Cotangents by path and by exponent, against taps and analytic answers."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny import drawn

from resseg.blueprint.trace import trace
from resseg.gradients.analysis.cotangents import (
    BIAS,
    CELLS,
    NONFINITE,
    SUBNORMAL,
    ZERO,
    exponent_counts,
    with_offsets,
    zero_offsets,
)
from resseg.gradients.fork import Fork, statistics_by_fork


class Stack(nn.Module):
    """Three blocks with circular convolutions, and backward factors that differ."""

    dtype: type = jnp.float32
    param_dtype: type = jnp.float32

    @nn.compact
    def __call__(self, x, train=False):
        x = x.astype(self.dtype)
        for i in range(3):
            fork = Fork("block", ("shortcut", "branch"), (0.5, 0.25), name=f"block{i}")
            shortcut, branch = fork(x)
            conv = nn.Conv(
                3,
                (3, 3),
                padding="CIRCULAR",
                dtype=self.dtype,
                param_dtype=self.param_dtype,
                name=f"conv{i}",
            )
            x = shortcut + jnp.sin(conv(branch))
        return x


def loss(model, variables, x, label):
    """Mean over pixels of the squared error."""
    y = model.apply(variables, x).astype(jnp.float32)
    return jnp.mean(jnp.sum((y - label) ** 2, axis=-1))


def cotangents(model, variables, x, label, factor=1.0):
    offsets = zero_offsets(trace(model, x.shape).forks)

    def shifted(offsets):
        return factor * with_offsets(loss, offsets, model, variables, x, label)

    return jax.grad(shifted)(offsets)


@pytest.fixture(scope="module")
def images():
    return jax.random.normal(jax.random.key(0), (2, 2, 8, 8, 3))


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_the_cotangents_are_those_that_the_taps_sum_up(images, dtype):
    model, (x, label) = Stack(dtype), images
    variables = drawn(model, x, seed=1)
    taps = variables.pop("taps")
    statistics = statistics_by_fork(
        jax.grad(lambda t: loss(model, variables | {"taps": t}, x, label))(taps)
    )
    for name, paths in cotangents(model, variables, x, label).items():
        measured = [float(jnp.sum(g.astype(jnp.float32) ** 2)) for g in paths]
        np.testing.assert_allclose(measured, statistics[name].squares, rtol=1e-5)
        assert measured[0] > 0


def test_offsets_of_zero_leave_the_value(images):
    model, (x, label) = Stack(), images
    variables = drawn(model, x, seed=1)
    variables.pop("taps")
    offsets = zero_offsets(trace(model, x.shape).forks)
    shifted = with_offsets(loss, offsets, model, variables, x, label)
    assert shifted == loss(model, variables, x, label)


def test_tiling_the_image_shrinks_every_cotangent_fourfold(images):
    """O21: parameters' gradients stay; l2 halves, rms is a quarter, `site` stays."""
    with jax.enable_x64(True):
        model, (x, label) = Stack(jnp.float64, jnp.float64), np.asarray(images, float)
        variables = drawn(model, x, seed=1)
        variables.pop("taps")

        def gradients(x, label):
            def of(params):
                y = model.apply(variables | {"params": params}, x)
                return jnp.mean(jnp.sum((y - label) ** 2, axis=-1))

            return jax.grad(of)(variables["params"])

        tiled = [np.tile(a, (1, 2, 2, 1)) for a in (x, label)]
        small, large = gradients(x, label), gradients(*tiled)
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-14),
            small,
            large,
        )
    small = cotangents(Stack(), variables32(variables), *images)
    tiled = [np.tile(a, (1, 2, 2, 1)) for a in images]
    large = cotangents(Stack(), variables32(variables), *tiled)
    for name, paths in small.items():
        for before, after in zip(paths, large[name], strict=True):
            np.testing.assert_allclose(
                np.linalg.norm(after) / np.linalg.norm(before), 0.5, rtol=1e-5
            )
            rms = [np.sqrt(np.mean(np.square(g))) for g in (before, after)]
            np.testing.assert_allclose(rms[1] / rms[0], 0.25, rtol=1e-5)
            site = [r * g.size / 3 for r, g in zip(rms, (before, after), strict=True)]
            np.testing.assert_allclose(site[1] / site[0], 1.0, rtol=1e-5)
            # In exponents: four times as many entries, each two cells lower.
            counts = [np.asarray(exponent_counts(g)) for g in (before, after)]
            moved = np.abs(np.roll(counts[1], 2) - 4 * counts[0]).sum()
            assert moved <= 0.01 * counts[1].sum()


def variables32(variables):
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), variables)


def test_a_factor_on_the_loss_shifts_every_exponent(images):
    """O33: by log2 of the factor, exactly; shares of the paths stay."""
    model, (x, label) = Stack(), images
    variables = drawn(model, x, seed=1)
    variables.pop("taps")
    plain = cotangents(model, variables, x, label)
    scaled = cotangents(model, variables, x, label, factor=2.0**10)
    for name, paths in plain.items():
        for before, after in zip(paths, scaled[name], strict=True):
            counts = np.asarray(exponent_counts(before))
            np.testing.assert_array_equal(
                np.roll(counts[:ZERO], 10), exponent_counts(after)[:ZERO]
            )
        shares = [
            float(jnp.sum(p[0] ** 2) / (jnp.sum(p[0] ** 2) + jnp.sum(p[1] ** 2)))
            for p in (paths, scaled[name])
        ]
        np.testing.assert_allclose(*shares, rtol=1e-6)


def test_exponents_of_numbers_whose_exponents_are_known():
    x = np.array(
        [1.0, -1.5, 2.0, 2**-24, np.nextafter(np.float32(2**-24), 0), 0.0, -0.0,
         np.inf, -np.inf, np.nan, 1e-42, -(2.0**-126)],
        np.float32,
    )  # fmt: skip
    expected = np.zeros(CELLS, int)
    expected[[BIAS, BIAS + 1, BIAS - 24, BIAS - 25]] = 2, 1, 1, 1
    expected[[ZERO, NONFINITE, SUBNORMAL, 1]] = 2, 3, 1, 1
    np.testing.assert_array_equal(jax.jit(exponent_counts)(x), expected)
