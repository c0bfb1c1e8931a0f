"""Filter-normalised planes: norms that are known, and a loss that is a paraboloid."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from resseg.gradients.analysis.slices import filter_normalized, filter_norms, moved


@pytest.fixture
def params():
    keys = jax.random.split(jax.random.key(0), 3)
    return {
        "conv": {"kernel": 3 * jax.random.normal(keys[0], (3, 3, 4, 5))},
        "dense": {"kernel": jax.random.normal(keys[1], (4, 6)).at[:, 2].set(0)},
        "norm": {"scale": jax.random.normal(keys[2], (5,)), "bias": jnp.ones(5)},
        "factor": jnp.ones(()),
    }


def test_every_filter_of_a_direction_is_as_long_as_that_of_the_weights(params):
    direction = filter_normalized(jax.random.key(1), params)
    for name in ("conv", "dense"):
        np.testing.assert_allclose(
            filter_norms(direction[name]["kernel"]),
            filter_norms(params[name]["kernel"]),
            rtol=1e-5,
        )
    per_filter = jnp.linalg.norm(params["conv"]["kernel"].reshape(-1, 5), axis=0)
    np.testing.assert_allclose(
        filter_norms(params["conv"]["kernel"]).ravel(), per_filter, rtol=1e-5
    )
    assert jnp.std(per_filter) > 0.1
    for leaf in (*direction["norm"].values(), direction["factor"]):
        np.testing.assert_array_equal(leaf, 0)
    np.testing.assert_array_equal(direction["dense"]["kernel"][:, 2], 0)


def test_directions_of_different_keys_differ(params):
    first, second = (filter_normalized(jax.random.key(i), params) for i in (1, 2))
    a, b = (d["conv"]["kernel"].ravel() for d in (first, second))
    assert abs(jnp.vdot(a, b) / (jnp.linalg.norm(a) * jnp.linalg.norm(b))) < 0.3


def test_scaling_the_weights_scales_the_directions(params):
    """What makes planes of networks comparable: a = 1 is always the weights' size."""
    larger = jax.tree.map(lambda leaf: 10 * leaf, params)
    small, large = (filter_normalized(jax.random.key(1), p) for p in (params, larger))
    np.testing.assert_allclose(
        large["conv"]["kernel"], 10 * small["conv"]["kernel"], rtol=1e-5
    )


def test_a_quadratic_loss_is_a_paraboloid(params):
    """M15, in float64: L(theta + a d + b e) from the three products of d and e."""
    with jax.enable_x64(True):
        theta = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), params)
        d, e = (filter_normalized(jax.random.key(i), theta) for i in (1, 2))

        def product(x, y):
            pairs = zip(jax.tree.leaves(x), jax.tree.leaves(y), strict=True)
            return sum(jnp.vdot(a, b) for a, b in pairs)

        for a in (-1.0, 0.0, 0.3):
            for b in (-0.5, 0.0, 1.0):
                at = moved(theta, (d, e), a, b)
                expected = (
                    0.5 * product(theta, theta)
                    + a * product(theta, d)
                    + b * product(theta, e)
                    + 0.5 * a**2 * product(d, d)
                    + 0.5 * b**2 * product(e, e)
                    + a * b * product(d, e)
                )
                np.testing.assert_allclose(0.5 * product(at, at), expected, rtol=1e-12)
