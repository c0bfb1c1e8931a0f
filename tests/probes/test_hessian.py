"""Curvature of a tiny network against products with its Hessian."""

import copy
import dataclasses

import jax
import numpy as np
import pandas as pd
import pytest
from jax.flatten_util import ravel_pytree

from resseg.errors import UserError
from resseg.gradients.analysis.factors import multiplied
from resseg.probes import hessian, registry
from resseg.probes.probe import Options


def test_the_spectrum_has_the_moments_of_the_hessian_of_the_mean_loss(smallest, shown):
    """Along the start vector v: sum of weight x value = v^T H v / |v|^2, and of weight
    x value^2 = |H v|^2 / |v|^2, however few the steps; H over both batches.
    """
    options = Options(batches=2, samples=4, iterations=6, seed=3)
    table = shown(hessian.PROBE, hessian.measure(smallest, options))
    flat, unravel = ravel_pytree(smallest.variables["params"])
    start = np.random.default_rng(3).standard_normal(flat.size).astype(np.float32)
    start /= np.linalg.norm(start)

    @jax.jit
    def along(batch):
        def loss(params):
            variables = {**smallest.variables, "params": unravel(params)}
            return smallest.total_loss(variables, batch, train=True)

        return loss(flat), *jax.jvp(jax.grad(loss), (flat,), (start,))

    found = [along(batch) for batch in smallest.batches(2)]
    value, gradient, turned = (
        np.mean([np.asarray(f, np.float64) for f in each], 0)
        for each in zip(*found, strict=True)
    )
    assert len(table) == 6
    assert (np.diff(table["eigenvalue"]) <= 0).all()
    np.testing.assert_allclose(table["weight"].sum(), 1, rtol=1e-5)
    np.testing.assert_allclose(
        (table["weight"] * table["eigenvalue"]).sum(), start @ turned, rtol=1e-3
    )
    np.testing.assert_allclose(
        (table["weight"] * table["eigenvalue"] ** 2).sum(), turned @ turned, rtol=1e-3
    )
    first = table.iloc[0]
    assert first["parameters"] == flat.size
    np.testing.assert_allclose(first["loss"], value, rtol=1e-5)
    np.testing.assert_allclose(first["gradient"], np.linalg.norm(gradient), rtol=1e-4)


def test_a_scaled_backward_pass_is_refused_by_config_and_by_leaf(smallest):
    """O16."""
    registry.check(hessian.PROBE, "hessian", smallest)
    config = copy.deepcopy(smallest.config)
    config.model.gradient.shortcut = 0.5
    scaled = dataclasses.replace(smallest, config=config)
    with pytest.raises(UserError, match=r"--what hessian.*gradient\.shortcut=0\.5"):
        registry.check(hessian.PROBE, "hessian", scaled)
    factors = {("backbone/stage1/block2", "shortcut"): 0.5}
    paths = multiplied(smallest.variables["paths"], factors)
    scaled = dataclasses.replace(
        smallest, variables={**smallest.variables, "paths": paths}
    )
    with pytest.raises(UserError, match=r"fork/shortcut=0\.5.*no Hessian"):
        hessian.measure(scaled, Options())


def test_both_ends_of_a_long_spectrum_are_shown():
    table = pd.DataFrame({"place": range(30)})
    assert list(hessian.ends(table)["place"]) == [0, 1, 2, 3, 4, 25, 26, 27, 28, 29]
    assert len(hessian.ends(table.head(7))) == 7
