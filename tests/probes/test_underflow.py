"""The underflow census against counts that are known."""

import numpy as np
import pytest

from resseg.gradients.analysis.cotangents import BIAS, CELLS, NONFINITE, SUBNORMAL, ZERO
from resseg.probes import underflow
from resseg.probes.probe import Options


def counts(by_exponent, **cells):
    counted = np.zeros(CELLS, np.int64)
    for exponent, number in by_exponent.items():
        counted[BIAS + exponent] = number
    for cell, number in cells.items():
        counted[{"zero": ZERO, "nonfinite": NONFINITE, "tiny": SUBNORMAL}[cell]] = (
            number
        )
    return counted


def test_shares_are_of_what_is_not_zero():
    found = underflow.census(counts({-30: 10, -20: 20, -3: 70}, zero=100))
    assert found["numel"] == 200
    assert found["zero"] == 0.5
    assert found["below_fp16"] == 0.1
    assert found["subnormal_fp16"] == pytest.approx(0.3)
    assert found["below_bf16"] == 0
    assert found["nonfinite"] == 0


def test_the_loss_scale_is_the_smallest_that_keeps_all_but_a_thousandth():
    found = underflow.census(counts({-40: 1, -30: 99, -3: 900}))
    assert found["scale_log2"] == 6  # the one at 2^-40 may go, those at 2^-30 not
    found = underflow.census(counts({-40: 2, -30: 98, -3: 900}))
    assert found["scale_log2"] == 16
    assert found["headroom_log2"] == 17
    assert underflow.census(counts({-24: 5}))["scale_log2"] == 0


def test_the_scale_and_the_headroom_are_those_of_float16_itself():
    rng = np.random.default_rng(0)
    values = np.ldexp(1 + rng.random(10_000), rng.integers(-40, -10, 10_000))
    exponent = np.floor(np.log2(values)).astype(int)
    cells = dict(zip(*np.unique(exponent, return_counts=True), strict=True))
    found = underflow.census(counts(cells))
    for scale, enough in (
        (found["scale_log2"], True),
        (found["scale_log2"] - 1, False),
    ):
        assert (np.mean(values * 2.0**scale >= 2.0**-24) >= 0.999) == enough
    assert np.isfinite(
        (values * 2.0 ** found["headroom_log2"]).astype(np.float16)
    ).all()
    with np.errstate(over="ignore"):
        over = (values * 2.0 ** (found["headroom_log2"] + 2)).astype(np.float16)
    assert np.isinf(over).any()


def test_what_is_not_finite_or_tiny_is_counted_apart():
    found = underflow.census(counts({0: 6}, nonfinite=3, tiny=2, zero=1))
    assert (found["nonfinite"], found["below_bf16"]) == (3, 0.25)


def test_a_path_of_zeros_has_no_scale_to_ask_for():
    found = underflow.census(counts({}, zero=7))
    assert (found["zero"], found["below_fp16"], found["scale_log2"]) == (1.0, 0.0, 0)


@pytest.fixture(scope="module")
def rows(probed):
    return underflow.measure(probed, Options(batches=2))


def test_every_path_of_every_fork_is_there_with_all_its_entries(probed, rows, shown):
    table = shown(underflow.PROBE, rows)
    short = underflow.paths_of(table)
    expected = [
        (f.name, p, 2 * np.prod(f.shape)) for f in probed.forks for p in f.paths
    ]
    assert list(
        short[["fork", "path", "numel"]].itertuples(index=False, name=None)
    ) == (expected)
    counted = table.groupby(["depth", "path"], sort=False)["count"].sum().to_numpy()
    present = (1 - short["zero"]) * short["numel"] - short["nonfinite"]
    np.testing.assert_allclose(counted, present, atol=1e-6)


def test_a_strided_shortcut_leaves_three_quarters_without_gradient(rows):
    """O22: its 1x1 convolution reads every other row and column."""
    names = zip(rows["fork"], rows["path"], strict=True)
    by_path = dict(zip(names, rows["zero"], strict=True))
    assert by_path["backbone/stage1/block1", "shortcut"] >= 0.75
    assert by_path["backbone/stage1/block1", "branch"] < 0.75
