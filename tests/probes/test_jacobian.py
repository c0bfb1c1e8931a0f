"""Jacobians of the parts of a tiny network."""

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from resseg.config.load import load_config
from resseg.probes import jacobian, subject
from resseg.probes.probe import Options


def changed(overrides, **others):
    config = load_config("configs/quickstart.py", overrides | others)
    return subject.at_init("changed", config)


def measured(asked, **options):
    return pd.DataFrame(jacobian.measure(asked, Options(**options)))


def test_a_branch_that_starts_as_zero_leaves_every_singular_value_at_one(
    smallest_overrides, shown
):
    """O13: of the blocks that do not project, in pre-activation order."""
    asked = changed(
        smallest_overrides,
        **{
            "model.backbone.order": "pre",
            "model.branch.init": "zero_gamma",
            "model.head.name": "fcn",
        },
    )
    table = shown(
        jacobian.PROBE, measured(asked, samples=2, iterations=2).to_dict("list")
    )
    assert list(table["part"]) == ["block"] * 3 + ["stage"] * 2 + ["net"]
    identity = table[table["module"].str.fullmatch(r"backbone/stage1(/block\d)?")]
    assert len(identity) == 3
    np.testing.assert_allclose(identity[["sigma_max", "gain"]], 1, rtol=1e-5)
    np.testing.assert_allclose(identity["residual"], 0, atol=1e-5)
    assert (identity["inputs"] == identity["outputs"]).all()


def test_a_block_is_measured_where_its_signal_is(smallest_overrides):
    """Against the singular values of the whole matrix."""
    asked = changed(
        smallest_overrides,
        **{"data.crop": (8, 8), "model.backbone.width": 2, "model.head.name": "fcn"},
    )
    (batch,) = asked.batches(1)
    modules, inputs = jacobian._parts(asked, batch["image"])
    path = "backbone/stage1/block2"
    x = inputs[path]
    variables = jacobian._below(asked.variables, path)

    def flat(v):
        return jacobian._forward(modules[path], variables, v.reshape(x.shape)).ravel()

    matrix = np.asarray(jax.jacobian(flat)(x.ravel()))
    values = np.linalg.svd(matrix, compute_uv=False)
    options = Options(samples=200, iterations=1000)
    row = jacobian._singular_values(
        modules[path], variables, x, jax.random.key(0), options
    )
    np.testing.assert_allclose(row["sigma_max"], values[0], rtol=1e-3)
    np.testing.assert_allclose(row["frobenius"], np.linalg.norm(values), rtol=0.05)
    assert abs(row["frobenius"] / np.linalg.norm(values) - 1) < 4 * row["error"]
    np.testing.assert_allclose(
        jacobian._forward(modules[path], variables, x),
        inputs["backbone/stage2/block1"],
        rtol=1e-5,
        atol=1e-6,
    )


def test_backward_factors_scale_the_jacobian(smallest):
    """It is the one that the gradient goes through."""
    (batch,) = smallest.batches(1)
    modules, inputs = jacobian._parts(smallest, batch["image"])
    path = "backbone/stage1/block2"
    variables = jacobian._below(smallest.variables, path)
    off = {"fork": {"shortcut": jnp.float32(0), "branch": jnp.float32(0)}}
    cut = variables | {"paths": variables["paths"] | off}
    key, few = jax.random.key(0), Options(samples=2, iterations=2)
    found = jacobian._singular_values(modules[path], cut, inputs[path], key, few)
    assert (found["sigma_max"], found["frobenius"]) == (0.0, 0.0)
    whole = jacobian._singular_values(modules[path], variables, inputs[path], key, few)
    assert whole["sigma_max"] > 0.1
