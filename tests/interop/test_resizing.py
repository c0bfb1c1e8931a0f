"""Resizing by torch's rules, whose answers are written out here."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax_side import BASE

from resseg.blueprint.network import build_segmenter
from resseg.config.load import load_config
from resseg.models.resizing import corner_weights, resize, resize_nearest


@pytest.mark.parametrize(
    ("of", "to", "places"),
    [
        (3, 6, [0, 0, 1, 1, 2, 2]),
        (3, 5, [0, 0, 1, 1, 2]),
        (5, 9, [0, 0, 1, 1, 2, 2, 3, 3, 4]),
        (3, 7, [0, 0, 0, 1, 1, 2, 2]),
        (5, 3, [0, 1, 3]),
        (1, 4, [0, 0, 0, 0]),
        (4, 4, [0, 1, 2, 3]),
    ],
)
def test_nearest_neighbours_are_those_of_torch(of, to, places):
    """floor(i * of / to), not the pixel whose centre is nearest."""
    x = jnp.arange(of * 2.0).reshape(1, of, 2, 1)
    np.testing.assert_array_equal(resize_nearest(x, (to, 2)), x[:, np.array(places)])
    x = x.transpose(0, 2, 1, 3)
    np.testing.assert_array_equal(resize_nearest(x, (2, to)), x[:, :, np.array(places)])


def test_the_gradient_of_nearest_neighbours_counts_their_copies():
    def total(x):
        return resize_nearest(x, (7, 5)).sum()

    gradient = jax.grad(total)(jnp.ones((1, 3, 3, 1)))[0, :, :, 0]
    np.testing.assert_array_equal(gradient, np.outer([3, 2, 2], [2, 2, 1]))


def test_aligned_corners_lie_on_each_other_and_lines_stay_lines():
    x = jnp.arange(5.0).reshape(1, 5, 1, 1).repeat(3, axis=2)
    out = resize(x, (9, 3), align_corners=True)[0, :, 0, 0]
    np.testing.assert_allclose(out, np.arange(9) / 2, atol=1e-6)
    np.testing.assert_allclose(np.asarray(corner_weights(7, 4)).sum(1), 1, atol=1e-6)
    assert resize(x, (1, 3), align_corners=True)[0, 0, 0, 0] == 0


@pytest.mark.parametrize("size", [(33, 47), (40, 31)])
def test_a_unet_ends_at_the_size_of_an_odd_image(size):
    """Its last decoder block works there already: no resizing of scores follows."""
    overrides = {"model.backbone.depth": 10, "model.backbone.width": 8}
    model = build_segmenter(load_config(BASE, overrides).model, 3)
    images = jnp.ones((1, *size, 3))

    def decoded(key):
        _, state = model.init_with_output(key, images, capture_intermediates=True)
        head = state["intermediates"]["head"]
        return head["classifier"]["__call__"][0]

    assert jax.eval_shape(decoded, jax.random.key(0)).shape == (1, *size, 3)
