"""Ranks and dead units against matrices and units whose answer is known."""

import jax
import numpy as np
import pytest

from resseg.probes import rank
from resseg.probes.calibration import settled
from resseg.probes.features import with_features
from resseg.probes.probe import Options


def with_singular_values(values, sites=60, channels=10):
    """Centred `[sites, channels]` with exactly those singular values."""
    rng = np.random.default_rng(0)
    left = rng.normal(size=(sites, len(values)))
    left, _ = np.linalg.qr(left - left.mean(axis=0))
    right, _ = np.linalg.qr(rng.normal(size=(channels, len(values))))
    return (left * values) @ right.T


@pytest.mark.parametrize("r", [1, 4, 10])
def test_equal_singular_values_give_their_number(r):
    """O25, by both measures; what is added to every site does not count."""
    rows = with_singular_values([3.0] * r) + np.arange(10)
    singular = rank.singular_values(rows)
    assert rank.effective_rank(singular) == pytest.approx(r, rel=1e-9)
    assert rank.participation_ratio(singular) == pytest.approx(r, rel=1e-9)


def test_unequal_singular_values_weigh_by_the_formula():
    singular = rank.singular_values(with_singular_values([4.0, 2.0, 1.0, 1.0]))
    # Shares 1/2, 1/4, 1/8, 1/8: an entropy of 1.75 bits.
    assert rank.effective_rank(singular) == pytest.approx(2**1.75)
    assert rank.participation_ratio(singular) == pytest.approx(22**2 / 274)


def test_singular_values_of_zero_add_nothing_to_the_entropy():
    """0 log 0 is 0, not NaN: a channel that no site uses."""
    assert rank.effective_rank(np.array([4.0, 2.0, 1.0, 1.0, 0.0])) == pytest.approx(
        2**1.75
    )


def test_a_feature_without_variation_has_no_rank():
    singular = rank.singular_values(np.ones((5, 3)))
    assert rank.effective_rank(singular) == 0
    assert rank.participation_ratio(singular) == 0


def test_zero_bias_units_on_symmetric_inputs():
    """O26: inactive half of the time; never active on N samples with odds 2^-N."""
    from resseg.probes.features import FeatureInfo

    rng = np.random.default_rng(0)
    channels, samples = 40_000, 3
    units = np.maximum(rng.normal(size=(samples, channels)), 0)
    found = rank._record(
        0,
        FeatureInfo("relu1", "activation", (samples, 1, 1, channels)),
        units[:, :2],
        np.sum(units == 0, axis=0),
        batches=1,
    )
    assert found["inactive"] == pytest.approx(0.5, abs=0.005)
    assert found["dead"] == pytest.approx(2.0**-samples, abs=0.005)


@pytest.fixture(scope="module")
def rows(probed):
    return rank.measure(probed, Options(batches=2))


def test_every_stage_block_and_activation_is_there(rows, shown):
    table = shown(rank.PROBE, rows)
    kinds = table["kind"].value_counts().to_dict()
    assert kinds == {"block": 5, "activation": 5, "stage": 2, "stem": 1, "logits": 1}
    assert (table["effective_rank"] <= table["channels"] + 1e-9).all()
    assert (table["participation"] <= table["effective_rank"] + 1e-9).all()
    by_name = table.set_index("feature")
    last, stage = (by_name.loc[f"backbone/stage1{b}"] for b in ("/block3", ""))
    assert last["effective_rank"] == stage["effective_rank"]
    # 2 batches of 4 images of 16 x 16.
    assert (last["counted"], last["sites"]) == (2048, 2048)
    assert by_name.loc["backbone/stem", "counted"] == 2 * 4 * 32 * 32
    assert by_name.loc["backbone/stem", "sites"] == 2 * rank.SITES


def test_they_are_those_of_the_features_themselves(probed, rows):
    batches = list(probed.batches(2))
    variables = settled(probed, batches)
    name = "backbone/stage2/block1"
    found = []
    for batch in batches:
        run = jax.jit(
            lambda x: with_features(probed.model.apply, variables, x, train=False)[1]
        )
        found.append(np.asarray(run(batch["image"])[name]).reshape(-1, 8))
    values = np.concatenate(found).astype(np.float64)
    covariance = np.cov(values, rowvar=False)
    power = np.linalg.eigvalsh(covariance)
    place = rows["feature"].index(name)
    np.testing.assert_allclose(
        rows["participation"][place], power.sum() ** 2 / (power**2).sum(), rtol=1e-4
    )
    np.testing.assert_allclose(rows["inactive"][place], np.mean(values == 0), atol=1e-3)
    np.testing.assert_allclose(
        rows["dead"][place], np.mean((values == 0).all(0)), atol=1e-9
    )
