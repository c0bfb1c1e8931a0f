"""A network computes with the coefficients of its config, or with those it is given."""

import flax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util
from tiny import drawn

import resseg
from resseg.blueprint.trace import trace
from resseg.gradients.analysis.cotangents import with_offsets, zero_offsets

IMAGES = jax.random.normal(jax.random.key(1), (2, 32, 32, 3))
COEFFICIENTS = {
    "model.shortcut.scale": 0.5,
    "model.branch.scale": -1.5,
    "model.long_skip.scale": 0.25,
    "model.gradient.shortcut": 0.75,
    "model.gradient.branch_out": 2.0,
}


@pytest.fixture(scope="module")
def trained():
    """A U-Net whose coefficients are not neutral, its weights and its coefficients."""
    model = resseg.build_model(config(COEFFICIENTS), num_classes=3)
    variables = drawn(model, IMAGES)
    weights = {name: variables[name] for name in ("params", "batch_stats")}
    return model, weights, trace(model, IMAGES.shape).paths()


def config(overrides):
    size = {
        "model.backbone.width": 8,
        "model.backbone.stage_sizes": (1, 1),
        "model.backbone.stage_strides": (2, 2),
        "model.backbone.output_stride": 4,
    }
    return resseg.load_config("quickstart", size | overrides)


def logits(model, variables):
    return model.apply(variables, IMAGES)["logits"]


def gradient(model, weights, **collections):
    def loss(params):
        variables = weights | collections | {"params": params}
        scores = model.apply(variables, IMAGES, train=True, mutable=["batch_stats"])
        return jnp.mean(jnp.square(scores[0]["logits"]))

    return jax.grad(loss)(weights["params"])


def equal(ours, theirs):
    leaves = zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True)
    return [np.array_equal(a, b) for a, b in leaves]


def test_without_paths_the_coefficients_are_those_of_the_config(trained):
    model, weights, paths = trained
    with_paths = logits(model, weights | {"paths": paths})
    np.testing.assert_array_equal(logits(model, weights), with_paths)
    neutral = resseg.build_model(config({}), num_classes=3)
    assert not np.allclose(logits(neutral, weights), with_paths, rtol=1e-3)


def test_without_paths_the_gradient_is_that_of_the_config(trained):
    """Backward factors too, which the value does not show."""
    model, weights, paths = trained
    bare = gradient(model, weights)
    assert all(equal(bare, gradient(model, weights, paths=paths)))
    forward = {key: COEFFICIENTS[key] for key in COEFFICIENTS if "gradient" not in key}
    unscaled = resseg.build_model(config(forward), num_classes=3)
    np.testing.assert_array_equal(logits(unscaled, weights), logits(model, weights))
    assert not all(equal(bare, gradient(unscaled, weights)))


def test_paths_that_are_given_are_used(trained):
    """As if the config had said so, in value and gradient."""
    model, weights, _ = trained
    others = {"model.shortcut.scale": 2.0, "model.gradient.shortcut": 0.125}
    other = resseg.build_model(config(COEFFICIENTS | others), num_classes=3)
    paths = trace(other, IMAGES.shape).paths()
    np.testing.assert_array_equal(
        logits(model, weights | {"paths": paths}), logits(other, weights)
    )
    assert not np.array_equal(
        logits(model, weights | {"paths": paths}), logits(model, weights)
    )
    given = gradient(model, weights, paths=paths)
    assert all(equal(given, gradient(other, weights)))


def test_a_coefficient_that_is_missing_among_those_given_is_an_error(trained):
    """One out of the config in the midst of others would be right by chance only."""
    model, weights, paths = trained
    flat = traverse_util.flatten_dict(paths)
    del flat["backbone", "stage1", "block1", "shortcut_factor", "factor"]
    partial = traverse_util.unflatten_dict(flat)
    with pytest.raises(flax.errors.ScopeVariableNotFoundError, match="factor"):
        logits(model, weights | {"paths": partial})


def test_paths_are_not_made_by_applying_unless_asked_for(trained):
    model, weights, paths = trained
    _, changed = model.apply(weights, IMAGES, train=True, mutable=["batch_stats"])
    assert set(changed) == {"batch_stats"}
    _, made = model.apply(weights, IMAGES, mutable=["paths"])
    assert jax.tree.structure(made["paths"]) == jax.tree.structure(paths)
    assert all(equal(made["paths"], paths))


def test_the_cotangents_of_every_entry_need_no_paths(trained):
    model, weights, paths = trained
    forks = trace(model, IMAGES.shape).forks

    def cotangents(variables):
        def loss(offsets):
            scores = with_offsets(model.apply, offsets, variables, IMAGES)
            return jnp.mean(jnp.square(scores["logits"]))

        return jax.grad(loss)(zero_offsets(forks))

    bare = cotangents(weights)
    assert all(equal(bare, cotangents(weights | {"paths": paths})))
    assert float(jnp.abs(bare["backbone/stage1/block1"][0]).max()) > 0
