"""The studies at initialisation, on their smallest cases."""

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from experiments import common
from experiments.efficient_blocks import study as blocks_study
from experiments.few_images import analyse as few_study
from experiments.high_resolution import measure as resolution_study
from experiments.init_jacobian import measure as jacobian_study
from experiments.init_profile import measure as profile_study
from experiments.normaliser_sign import measure as sign_study
from experiments.shattering import measure as shattering_study
from experiments.signal_propagation import measure as signal_study
from resseg.blueprint.blueprint import Blueprint
from resseg.config.keys import flatten
from resseg.config.load import load_config


@pytest.mark.parametrize("kind", shattering_study.KINDS)
def test_one_and_two_layers_lose_resemblance_as_predicted(kind):
    for depth in (1, 2):
        found = shattering_study.correlation(kind, depth, draws=4)
        assert found == pytest.approx(shattering_study.exact(kind, depth), rel=0.1)


def test_the_exact_resemblance_with_a_normaliser_tends_to_the_root():
    found = shattering_study.exact("residual, norm", 400)
    assert found == pytest.approx(2 / math.sqrt(math.pi * 400), rel=5e-3)


def test_linear_blocks_of_two_layers_are_conditioned_alike_at_any_depth():
    """O12."""
    two = [jacobian_study.linear(depth, 2) for depth in (1, 2, 4)]
    assert all(gradient == 0 and curvature > 0 for gradient, curvature, _ in two)
    np.testing.assert_allclose([condition for *_, condition in two], two[0][2])
    one = [jacobian_study.linear(depth, 1)[2] for depth in (1, 2, 4)]
    assert one[0] < one[1] < one[2]
    gradient, curvature, condition = jacobian_study.linear(2, 3)
    assert gradient == curvature == 0 and math.isnan(condition)


def test_a_zero_map_as_branch_hands_every_gradient_on():
    zero = profile_study.VARIANTS["zero gamma"]
    norms = common.profiles(
        common.one_stage(3, model__backbone__order="pre", **zero.keys), range(2)
    )
    assert norms.shape == (2, 3)
    np.testing.assert_allclose(norms, norms[:, -1:].repeat(3, axis=1), rtol=1e-5)
    assert norms[0, 0] != norms[1, 0]


def test_the_size_of_the_loss_cancels_and_rescues_small_squares():
    config = sign_study.config("none", 3)
    plain, scaled = (common.profiles(config, [0], scale) for scale in (1.0, 2.0**40))
    np.testing.assert_allclose(scaled, plain * 2.0**40, rtol=1e-5)
    ratio = float(plain[0, 0] / plain[0, -1])
    assert ratio == pytest.approx(sign_study.predicted(3), rel=0.4)


def test_the_prediction_without_norm_is_that_of_the_catalogue():
    """(1/4 + 1/L)^(L/2) is 3.8e-16 at L = 54; here between 54 forks, with padding."""
    without_padding = (0.25 + 1 / 54) ** 27
    assert without_padding == pytest.approx(3.8e-16, rel=0.02)
    assert sign_study.predicted(54) == pytest.approx(
        (0.25 + (46 / 48) ** 4 / 54) ** 26.5, rel=1e-12
    )


def test_verdicts_follow_the_rule():
    rule = profile_study.verdict
    fails = profile_study.VARIANTS["plain"]
    good = profile_study.VARIANTS["identity"]
    assert (rule(fails, 1e6), rule(fails, 1e4)) == ("holds", "fails")
    assert (rule(good, 86.0), rule(good, 1e5)) == ("holds", "fails")
    assert rule(profile_study.VARIANTS["exclusive gate -7"], 1.0) == ""
    assert rule(profile_study.VARIANTS["dropout 0.5"], 1.0) == ""
    judged = [v for v in profile_study.VARIANTS.values() if v.judged and v.error]
    assert len([v for v in judged if v.error >= 12]) == 6


def test_every_variant_is_a_valid_config():
    for variant in profile_study.VARIANTS.values():
        assert common.one_stage(2, **variant.keys).model.backbone.stage_sizes == (2,)
    assert len(signal_study.variants(2)) == 4


def test_batch_norm_adds_the_same_with_every_block_and_starts_again():
    curve = signal_study.curves(signal_study.variants(2)["batch norm"], seeds=1)
    assert curve.shape == (6,)
    steps = curve[1::2] - curve[::2]
    np.testing.assert_allclose(steps, 0.92, atol=0.25)
    assert curve[2] < curve[1] and curve[4] < curve[3]


def test_scenes_keep_their_light_and_their_classes_as_they_shrink():
    draw = np.random.default_rng(0)
    label = np.kron(draw.integers(0, 7, (2, 8, 8)), np.ones((8, 8))).astype(np.int32)
    image = draw.normal(size=(2, 64, 64, 3)).astype(np.float32)
    found = resolution_study.smaller({"image": image, "label": label}, 32)
    np.testing.assert_array_equal(found["label"], label[:, ::2, ::2])
    expected = image.reshape(2, 32, 2, 32, 2, 3).mean((2, 4))
    np.testing.assert_allclose(found["image"], expected, atol=1e-6)


def test_powers_of_the_side_are_found():
    rows = [
        {
            "variant": "baseline",
            "side": side,
            "seed": seed,
            "fork": "f",
            "path": "shortcut",
            "part": "shortcut",
            "l2": 3.0 / side,
            "site": 5.0 * side**0.5,
            "below_fp16": 0.0,
            "scale_log2": 0,
        }
        for side in (64, 128, 256)
        for seed in range(2)
    ]
    table = resolution_study.summary(pd.DataFrame(rows))
    power = resolution_study.exponent
    assert power(table, "baseline", "shortcut", "l2") == pytest.approx(-1)
    assert power(table, "baseline", "shortcut", "site") == pytest.approx(0.5)


def test_an_arm_is_known_by_its_config():
    for name, keys in few_study.ARMS.items():
        config = load_config(few_study.HERE / "config.py", keys)
        assert few_study.arm_of(flatten(config.to_dict())) == name


def test_differences_are_of_the_same_seed():
    rows = [
        {"arm": arm, "seed": seed, "val_iou": value}
        for arm, values in {"none": (0.5, 0.6, 0.7), "SAM": (0.6, 0.8, 1.0)}.items()
        for seed, value in enumerate(values)
    ]
    mean, half, pairs = few_study.difference(pd.DataFrame(rows), "SAM", "val_iou")
    assert (round(mean, 9), pairs) == (0.2, 3)
    # Student's t of 2 degrees of freedom, 4.303, times 0.1 / sqrt 3.
    assert half == pytest.approx(4.302653 * 0.1 / 3**0.5, rel=1e-6)


@pytest.mark.parametrize("block", blocks_study.WIDTHS)
def test_blocks_are_compared_at_equal_cost(block):
    keys = {
        blocks_study.BLOCK: block,
        blocks_study.WIDTH: blocks_study.WIDTHS[block],
        "model.backbone.expansion": blocks_study.EXPANSIONS.get(block, 6),
    }
    config = load_config(Path(blocks_study.__file__).parent / "config.py", keys)
    macs = Blueprint.of(config, 7, config.data.crop).macs
    assert macs == pytest.approx(89.7e6, rel=0.025)
