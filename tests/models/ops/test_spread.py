"""A few numbers at every place of a feature, and what is summed for their gradient."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny import drawn

from resseg.models.branch import SqueezeExcitation
from resseg.models.layers import Conv, Norm
from resseg.models.shortcuts import Gate, LongSkip, PathFactor

SHAPE = (2, 64, 64, 8)
HALVES = ("bfloat16", "float16")
# Each has learned numbers that reach all of 8,192 places.
PARTS = {
    "bias": lambda dtype: Conv(8, 1, use_bias=True, dtype=dtype),
    "bias alone": lambda dtype: Norm("none", dtype=dtype),
    "factor": lambda dtype: PathFactor("scalar", 0.5),
    "factor by channel": lambda dtype: PathFactor("channel", 0.5),
    "gate": lambda dtype: Gate(8, dtype=dtype),
    "gated skip": lambda dtype: LongSkip(gated=True, dtype=dtype),
    "squeeze": lambda dtype: SqueezeExcitation(4, dtype=dtype),
}


def arguments(module, x):
    takes_train = isinstance(module, Norm)
    return (x, True) if takes_train else (x,)


def value_and_gradients(part, dtype):
    module = PARTS[part](dtype)
    x = jnp.asarray(np.random.default_rng(0).uniform(0.5, 1.5, SHAPE), dtype)
    params = drawn(module, *arguments(module, x))["params"]

    def loss(params):
        y = module.apply({"params": params}, *arguments(module, x))
        return y.astype(jnp.float32).sum(), y

    # One number for every place, as a mean over pixels has it.
    gradients, y = jax.grad(loss, has_aux=True)(params)
    return y, gradients


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("part", PARTS)
def test_half_precision_adds_up_a_gradient_over_places_in_single(part, dtype):
    y, found = value_and_gradients(part, jnp.dtype(dtype))
    _, expected = value_and_gradients(part, jnp.float32)
    assert y.dtype == dtype
    for (path, a), b in zip(
        jax.tree_util.tree_leaves_with_path(found),
        jax.tree.leaves(expected),
        strict=True,
    ):
        assert a.dtype == jnp.float32
        bound = 0.02 * np.abs(b).max()
        assert np.abs(a - b).max() <= bound, jax.tree_util.keystr(path)
