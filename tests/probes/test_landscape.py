"""The plane of a tiny network, and what is said about it."""

from functools import partial

import jax
import numpy as np
import pandas as pd

from resseg.probes import landscape
from resseg.probes.probe import Options


def test_the_centre_of_the_plane_is_the_loss_of_the_weights(smallest, shown):
    rows = landscape.measure(smallest, Options(batches=1, grid=1))
    table = shown(landscape.PROBE, rows)
    assert len(table) == 9
    assert sorted(set(table["a"])) == sorted(set(table["b"])) == [-1, 0, 1]
    (batch,) = smallest.batches(1)
    centre = table[(table["a"] == 0) & (table["b"] == 0)]["loss"]
    here = jax.jit(partial(smallest.total_loss, train=True))(smallest.variables, batch)
    np.testing.assert_allclose(centre, here, rtol=1e-5)
    assert table["loss"].nunique() == 9
    assert len(landscape.cuts(table)) == 5


def paraboloid(a0, b0):
    places = np.linspace(-1, 1, 5)
    return pd.DataFrame(
        [
            {"a": a, "b": b, "loss": 1 + (a - a0) ** 2 + (b - b0) ** 2}
            for a in places
            for b in places
        ]
    )


def test_a_lower_point_is_named(shown):
    (only,) = landscape.conclude(paraboloid(0, 0))
    assert only == "loss 1 at the weights, up to 3 around"
    _, second = landscape.conclude(paraboloid(0.5, -1.0))
    assert "1, at a = 0.5, b = -1" in second


def test_a_plane_without_slope_or_with_holes_is_drawn(shown):
    flat = paraboloid(0, 0)
    flat["loss"] = 1.0
    shown(landscape.PROBE, flat.to_dict("list"))
    holes = paraboloid(0, 0)
    holes.loc[3, "loss"] = np.nan
    table = shown(landscape.PROBE, holes.to_dict("list"))
    assert "1 points have no finite loss" in landscape.conclude(table)
