"""The shattering probe on a whole network."""

import dataclasses

import flax.linen as nn
import numpy as np
import pytest

from resseg.probes import shattering
from resseg.probes.probe import Options


@pytest.fixture(scope="module")
def options():
    return Options(batches=1, samples=2)


@pytest.fixture(scope="module")
def rows(probed, options):
    return shattering.measure(probed, options)


def test_correlation_starts_at_one_and_falls(rows, shown):
    table = shown(shattering.PROBE, rows)
    for walk in ("line", "circle"):
        found = table[table["walk"] == walk]
        assert len(found) == shattering.POINTS // 2 + 1
        assert found["correlation"].iloc[0] == pytest.approx(1)
        assert found["distance"].iloc[0] == 0
        assert (found["correlation"].iloc[1:] < 1).all()
        assert found["correlation"].iloc[1] > found["correlation"].iloc[8]
    assert table["lag"].max() == pytest.approx(16 / 31)
    independent = table.iloc[-1]
    assert independent["walk"] == "independent"
    assert independent["pairs"] == 6
    assert -1 < independent["correlation"] < 1


class Linear(nn.Module):
    """Logits that are linear in the image."""

    @nn.compact
    def __call__(self, images, train=False):
        return {"logits": nn.Conv(4, (3, 3), use_bias=False)(images)}


def test_a_linear_network_has_the_same_gradient_everywhere(probed, options):
    import jax

    variables = Linear().init(jax.random.key(0), np.zeros(probed.image_shape))
    spec = dataclasses.replace(probed.spec, classes=("a", "b", "c", "d"))
    blueprint = dataclasses.replace(probed.blueprint, model=Linear())
    linear = dataclasses.replace(
        probed, blueprint=blueprint, variables=dict(variables), spec=spec, step=1
    )
    rows = shattering.measure(linear, options)
    np.testing.assert_allclose(rows["correlation"], 1, rtol=1e-5)
