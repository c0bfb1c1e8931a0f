"""Sizes that are symbols: the same numbers as those that are known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export

from resseg.models.ops.choice import Formulation, formulation
from resseg.models.pooling import adaptive_average_pool, halved_max_pool
from resseg.models.resizing import resize, resize_nearest, size_of


def doubled(x):
    return resize_nearest(x, (2 * x.shape[1], 2 * x.shape[2]))


def halved_and_back(x):
    return resize(halved_max_pool(x), size_of(x))


@pytest.mark.parametrize(
    "operation",
    [
        halved_max_pool,
        halved_and_back,
        doubled,
        lambda x: adaptive_average_pool(x, 3),
        lambda x: resize(x, (4 * x.shape[1], 2 * x.shape[2]), align_corners=True),
        lambda x: resize(x[:, ::4, ::3], size_of(x), align_corners=True),
    ],
    ids=["halved", "back", "doubled", "pooled", "corners", "ends"],
)
def test_an_operation_of_symbols_is_that_of_their_values(operation):
    shape = jax.ShapeDtypeStruct((*export.symbolic_shape("b, h, w"), 2), jnp.float32)
    with formulation(Formulation.PLAIN):
        of_any = export.export(jax.jit(operation))(shape)
    for at, (height, width) in enumerate([(1, 1), (5, 8), (7, 2)]):
        x = np.random.default_rng(at).normal(size=(2, height, width, 2))
        x = jnp.asarray(x, jnp.float32)
        np.testing.assert_allclose(of_any.call(x), operation(x), atol=1e-5)
