"""What lies outside of a tile changes its scores as far in as is said, no further."""

import math

import jax
import numpy as np
import pytest
from tiny import two_stages

from resseg.blueprint.reach import reach

STRIDE, SIDE = 4, 64


@pytest.fixture(scope="module")
def drawn():
    def make(head, **settings):
        model = two_stages((1, 1), 2, head, **settings)
        image = jax.ShapeDtypeStruct((1, 32, 32, 3), np.float32)
        shapes = jax.eval_shape(model.init, jax.random.key(0), image)
        rng = np.random.default_rng(0)
        variables = jax.tree.map(
            lambda leaf: rng.uniform(0.1, 1, leaf.shape).astype(np.float32), shapes
        )
        return model, {name: variables[name] for name in ("params", "batch_stats")}

    return make


@pytest.mark.parametrize("head", ["unet", pytest.param("fcn", marks=pytest.mark.slow)])
def test_scores_further_in_do_not_change_and_the_first_does(drawn, head):
    model, variables = drawn(head)
    said = reach(model, variables, SIDE, STRIDE)
    assert 0 < said < SIDE / 2
    apply = jax.jit(
        lambda images: model.apply(variables, images, train=False)["logits"]
    )
    image = np.random.default_rng(0).normal(size=(1, SIDE + STRIDE, 32, 3))
    furthest = 0
    for outside in (slice(0, STRIDE), slice(SIDE, None)):
        other = image.copy()
        other[:, outside] += 1e4
        changed = np.asarray(apply(image) != apply(other))
        rows = np.flatnonzero(changed.any((0, 2, 3)))
        if outside.start == 0:
            furthest = max(furthest, rows[-1] + 1 - STRIDE)
        else:
            furthest = max(furthest, SIDE - rows[0])
    assert furthest == said


def test_what_sees_the_whole_image_is_never_free(drawn):
    model, variables = drawn("deeplabv3")
    assert reach(model, variables, SIDE, STRIDE) == math.inf


def test_a_tile_that_is_too_small_is_never_free(drawn):
    model, variables = drawn("unet")
    assert reach(model, variables, 8, STRIDE) == math.inf
