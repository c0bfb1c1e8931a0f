"""Arrays drawn by their recipes have the bits that the compiled program gives."""

import json

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from resseg.blueprint.drawing import Constant, Drawing, Given, Normal, normal
from resseg.models.layers import scaled_he_normal

KEY = jax.random.key(2**31 + 5)
KERNEL = (3, 3, 4, 6)


def weights(scale=1.0, shape=KERNEL, stream=7):
    """A function of a key, as layers draw their kernels."""
    return lambda key: scaled_he_normal(scale)(jax.random.fold_in(key, stream), shape)


@pytest.mark.bits
@pytest.mark.parametrize(
    ("shape", "stream", "scale"),
    [
        (KERNEL, 2**32 - 1, 1.0),
        ((1, 1, 65_537, 1), 3, 0.37),  # a piece and one number
        ((3, 3, 128, 128), 1, 1.0),
    ],
)
def test_normal_weights_are_those_of_the_compiled_program(shape, stream, scale):
    expected = jax.jit(weights(scale, shape, stream))(KEY)
    fan = np.prod(shape) / shape[2]
    drawn = normal(KEY, shape, stream, 2 * scale**2 / fan)
    np.testing.assert_array_equal(drawn, expected, strict=True)


def test_each_leaf_is_known_by_what_it_is_made_of():
    def begin(key, given):
        kernel = weights()(key)
        return {
            "kernel": kernel,
            "copy": jnp.copy(kernel),
            "zeros": jnp.zeros_like(kernel),
            "scale": nn.initializers.constant(0.3)(key, (5,), jnp.float32),
            "step": jnp.zeros((), jnp.int32),
            "given": given["a"],
            "eye": jnp.eye(4),
            "mask": jax.random.bernoulli(key, 0.5, (3,)),
            "shifted": kernel + 1,
            "half": kernel.astype(jnp.bfloat16),
        }

    given = {"a": np.float32(3), "b": np.float32(4)}
    drawing = Drawing.of(begin, KEY, given)
    recipes = jax.tree.unflatten(drawing.tree, drawing.recipes)
    deviation = 2 / (9 * 6)
    own = Normal(KERNEL, 7, float(np.float32(deviation)))
    assert recipes == {
        "kernel": own,
        "copy": own,
        "zeros": Constant(KERNEL, "float32", 0.0),
        "scale": Constant((5,), "float32", float(np.float32(0.3))),
        "step": Constant((), "int32", 0),
        "given": Given(0),
        "eye": None,
        "mask": None,
        "shifted": None,
        "half": None,
    }
    expected, drawn = jax.jit(begin)(KEY, given), drawing(KEY, given)
    for name, leaf in drawn.items():
        np.testing.assert_array_equal(leaf, expected[name], strict=True)
    assert not np.shares_memory(drawn["kernel"], drawn["copy"])


@pytest.mark.parametrize("other", ["generator", "counting"])
def test_other_random_bits_are_drawn_by_the_compiled_program(other):
    key = KEY
    if other == "generator":
        key = jax.random.key(1, impl="rbg")
    with jax.threefry_partitionable(other != "counting"):
        drawing = Drawing.of(weights(), key)
        drawn, expected = drawing(key), jax.jit(weights())(key)
    assert drawing.recipes == (None,)
    np.testing.assert_array_equal(drawn, expected, strict=True)


def test_other_normal_numbers_are_not_taken_for_weights():
    """Of another distribution, or with another factor: none is `normal`."""

    def uniform(key):
        return jax.random.uniform(jax.random.fold_in(key, 7), KERNEL)

    def truncated(key):
        key = jax.random.fold_in(key, 7)
        return jax.random.truncated_normal(key, -2, 2, KERNEL) * jnp.sqrt(0.5)

    def split(key):
        return weights()(jax.random.split(key)[0])

    for function in (uniform, truncated, split):
        assert Drawing.of(function, KEY).recipes == (None,)


def test_recipes_are_plain_data():
    def begin(key, given):
        return {"kernel": weights()(key), "zeros": jnp.zeros(3), "given": given}

    drawing = Drawing.of(begin, KEY, np.float32(2))
    values = json.loads(json.dumps(drawing.to_json()))
    again = Drawing.from_json(drawing.tree, values)
    assert again == drawing
    drawn = again(KEY, np.float32(3))
    assert drawn["given"] == 3
    np.testing.assert_array_equal(drawn["kernel"], jax.jit(weights())(KEY))
    assert Drawing.of(lambda key: jax.random.bits(key), KEY).to_json() is None
