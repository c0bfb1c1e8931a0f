"""Rows, means and paired differences of sweeps whose numbers are known."""

import math

import numpy as np
import pytest
from fake_sweeps import KIND, attempt, begin, config, finish, taps, write_sweep

from resseg import runs
from resseg.errors import UserError
from resseg.sweeps.table.statistics import (
    bootstrap_interval,
    mean_interval,
    ratio_interval,
)
from resseg.sweeps.table.table import load_table

IDENTITY, NONE = {KIND: "identity"}, {KIND: "none"}


def two_variants(folder, **more):
    """identity and plain at 3 seeds, in that order of the study: i0 i1 i2 n0 n1 n2."""
    wanted = [
        (f"{kind[0]}{seed}", {KIND: kind, "seed": seed})
        for kind in ("identity", "none")
        for seed in range(3)
    ]
    return write_sweep(folder / "sweep", wanted, **more)


def by_id(plan):
    return {run.id: run for run in plan.runs}


@pytest.fixture
def plan(tmp_path):
    """Plain is better than identity by .1, .1 and .4."""
    plan = two_variants(tmp_path)
    scores = {"i0": 0.2, "i1": 0.3, "i2": 0.4, "n0": 0.3, "n1": 0.4, "n2": 0.8}
    for run in plan.runs:
        finish(run, plan, scores[run.id])
    return plan


def test_student_interval_by_hand():
    # mean .3, standard deviation .1, t(2) = 4.302653 -> .1 / sqrt 3 * t = .248414
    estimate = mean_interval([0.2, 0.3, 0.4])
    assert estimate.mean == pytest.approx(0.3)
    assert estimate.low == pytest.approx(0.3 - 0.2484138, abs=1e-6)
    assert estimate.high == pytest.approx(0.3 + 0.2484138, abs=1e-6)
    assert estimate.half == pytest.approx(0.2484138, abs=1e-6)
    assert (estimate.count, estimate.why) == (3, "")


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ([], "none"),
        ([0.5], "1 only"),
        ([0.5, 0.5, 0.5], "all 3 equal"),
        ([0.8 - 0.5, 0.7 - 0.4, 0.3], "all 3 equal"),  # but for rounding
        ([0.0, 0.0, 0.0], "all 3 equal"),
        ([0.5, math.nan, 0.6], "not finite"),
        ([0.5, math.inf, 0.6], "not finite"),
    ],
)
@pytest.mark.parametrize("interval", [mean_interval, bootstrap_interval])
def test_no_interval_is_made_up(interval, values, why):
    estimate = interval(values)
    assert estimate.why == why
    assert math.isnan(estimate.low) and math.isnan(estimate.high)
    expected = np.mean(values) if values else math.nan
    np.testing.assert_equal(estimate.mean, expected)


def test_a_bootstrap_is_shown_from_twenty_pairs_on():
    values = list(np.random.default_rng(0).normal(size=20))
    assert bootstrap_interval(values[:19]).why == "19 only"
    shown = bootstrap_interval(values)
    assert shown.why == "" and shown == bootstrap_interval(values)
    assert min(values) < shown.low < shown.mean < shown.high < max(values)
    assert mean_interval([0.1, 0.2]).why == ""


def test_the_bootstrap_is_that_of_efron(monkeypatch):
    """Ends against his equations on all 46656 resamples of six values."""
    from itertools import product
    from statistics import NormalDist

    monkeypatch.setattr("resseg.sweeps.table.statistics.BOOTSTRAP", 6)
    values = np.array([0.0, 0.3, 0.7, 1.0, 1.6, 5.0])
    means = np.array(list(product(values, repeat=6))).mean(axis=1)
    normal, mean = NormalDist(), values.mean()
    left_out = np.array([np.delete(values, i).mean() for i in range(6)])
    spread = left_out.mean() - left_out
    acceleration = (spread**3).sum() / (6 * (spread**2).sum() ** 1.5)
    bias = normal.inv_cdf((means < mean).mean())
    found = bootstrap_interval(list(values))
    for end, z in ((found.low, -1.959964), (found.high, 1.959964)):
        shifted = bias + (bias + z) / (1 - acceleration * (bias + z))
        expected = np.quantile(means, normal.cdf(shifted))
        assert end == pytest.approx(expected, abs=0.06)
    assert found.high - mean > 1.5 * (mean - found.low)  # as skewed as the values


def test_the_ends_of_a_quotient_are_where_the_paired_interval_ends_at_0():
    above, below = [0.30, 0.36, 0.44, 0.38], [0.60, 0.66, 0.91, 0.70]
    found = ratio_interval(above, below)
    assert found.mean == pytest.approx(np.mean(above) / np.mean(below))
    assert found.low < found.mean < found.high and found.count == 4
    low = mean_interval(list(np.subtract(above, np.multiply(found.low, below))))
    high = mean_interval(list(np.subtract(above, np.multiply(found.high, below))))
    assert low.low == pytest.approx(0, abs=1e-12)
    assert high.high == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize(
    ("above", "below", "why"),
    [
        ([], [], "none"),
        ([0.5], [1.0], "1 only"),
        ([0.5, 1.0], [1.0, 2.0], "all 2 equal"),
        ([0.5, math.nan], [1.0, 2.0], "not finite"),
        ([0.5, 1.0], [0.0, 0.0], "divided by 0"),
        ([0.5, 1.0], [-1.0, 2.0], "divided by what may be 0"),
    ],
)
def test_a_quotient_without_an_interval_says_why(above, below, why):
    found = ratio_interval(above, below)
    assert found.why == why and found.count == len(above)
    assert math.isnan(found.low) and math.isnan(found.high)


def test_intervals_of_normal_values_cover_as_often_as_they_say():
    rng = np.random.default_rng(0)
    pairs = rng.normal(size=(400, 2, 4)) * 0.1 + np.array([[1.0], [2.0]])
    covered = [
        found.low <= 0.5 <= found.high
        for found in (ratio_interval(list(a), list(b)) for a, b in pairs)
    ]
    assert 0.92 < np.mean(covered) < 0.98


def test_rows_means_and_paired_differences(plan):
    table = load_table(plan)
    assert [row.name for row in table.rows] == [
        "shortcut.kind=none",
        "shortcut.kind=identity",
    ]
    plain, identity = table.rows
    assert plain.values == {KIND: "none"}
    assert plain.score.mean == pytest.approx(0.5)
    # deviations -.2, -.1, .3: variance .07, half = 4.302653 * sqrt(.07 / 3)
    assert plain.score.half == pytest.approx(4.3026527 * math.sqrt(0.07 / 3))
    assert plain.pairs == pytest.approx({"n0": 0.1, "n1": 0.1, "n2": 0.4})
    assert plain.difference is not None
    assert plain.difference.mean == pytest.approx(0.2)
    # differences .1, .1, .4: standard error sqrt(.03 / 3) = .1
    assert plain.difference.half == pytest.approx(0.43026527)
    assert plain.bootstrap is not None and plain.bootstrap.why == "3 only"
    assert identity.bootstrap is None
    assert identity.difference is None and identity.pairs == {}
    assert (plain.finished, plain.planned, table.passed) == (3, 3, True)
    assert table.baseline == IDENTITY
    assert table.notes == (
        "Differences are to runs of equal seed with model.shortcut.kind=identity, the "
        "first variant of the study, which names no BASELINE.",
    )
    assert table.unfinished == ()


def test_every_run_has_a_row_of_the_frame(plan):
    frame = load_table(plan, also=["train_loss"]).runs.set_index("id")
    assert list(frame.index) == ["i0", "i1", "i2", "n0", "n1", "n2"]
    assert frame.loc["n2", "mean_iou"] == 0.8
    assert frame.loc["n2", "train_loss"] == 1.0
    assert frame.loc["n2", "baseline"] == "i2"
    assert frame.loc["n2", KIND] == "none"
    assert frame.loc["n2", ["state", "step", "steps"]].tolist() == ["finished", 10, 10]
    assert frame.loc["n2", ["params", "macs"]].tolist() == [1000, 2500000]


def test_another_baseline(plan):
    table = load_table(plan, baseline=NONE)
    plain, identity = table.rows
    assert plain.difference is None
    assert identity.pairs == pytest.approx({"i0": -0.1, "i1": -0.1, "i2": -0.4})
    assert table.notes[0].endswith("equal seed with model.shortcut.kind=none.")
    with pytest.raises(UserError, match=r"no run .* has model.shortcut.kind=dropout"):
        load_table(plan, baseline={KIND: "dropout"})
    with pytest.raises(UserError, match="names a seed"):
        load_table(plan, baseline={"seed": 0})


def test_a_baseline_agrees_in_every_other_swept_key(tmp_path):
    """Within each head; and arms that set different keys are told by what results."""
    head, scale = "model.head.name", "model.shortcut.scale"
    wanted = [
        (f"{name}{arm}{seed}", {head: name, "seed": seed, **overrides})
        for name in ("fcn", "unet")
        for arm, overrides in enumerate([{KIND: "identity"}, {KIND: "none"}, {}])
        for seed in range(2)
        if not (name == "unet" and arm == 2)
    ]
    wanted[4] = ("other0", {head: "fcn", KIND: "constant", scale: 0.5, "seed": 0})
    wanted[5] = ("other1", {head: "fcn", KIND: "constant", scale: 0.5, "seed": 1})
    plan = write_sweep(
        tmp_path / "sweep", wanted, baseline={KIND: "identity", scale: 1.0}
    )
    for number, run in enumerate(plan.runs):
        finish(run, plan, number / 10)
    frame = load_table(plan).runs.set_index("id")
    expected = {"fcn00": "fcn00", "fcn11": "fcn01", "other1": "fcn01"}
    expected["unet11"] = "unet01"
    assert frame["baseline"][list(expected)].to_dict() == expected
    rows = load_table(plan, by=["head.name"]).rows
    assert [row.name for row in rows] == [
        "head.name=fcn shortcut.kind=constant shortcut.scale=0.5",
        "head.name=fcn shortcut.kind=none shortcut.scale=1.0",
        "head.name=fcn shortcut.kind=identity shortcut.scale=1.0",
        "head.name=unet shortcut.kind=none shortcut.scale=1.0",
        "head.name=unet shortcut.kind=identity shortcut.scale=1.0",
    ]


def test_rows_go_by_numbers_as_numbers(tmp_path):
    key = "optim.learning_rate"
    wanted = [(f"r{n}", {key: rate}) for n, rate in enumerate((0.1, 1.0, 0.01))]
    plan = write_sweep(tmp_path / "sweep", wanted)
    for run, score in zip(plan.runs, (0.1, 0.3, 0.2), strict=True):
        finish(run, plan, score)
    best_first = [row.values[key] for row in load_table(plan).rows]
    assert best_first == [1.0, 0.01, 0.1]
    ordered = [row.values[key] for row in load_table(plan, by=["learning_rate"]).rows]
    assert ordered == [0.01, 0.1, 1.0]
    # One seed only: no interval anywhere, and it says so.
    assert {row.score.why for row in load_table(plan).rows} == {"1 only"}


def unequal(folder, scores, metric="mean_iou", by=()):
    """Rows of identity, none and dropout whose seeds are not the same."""
    wanted = [
        (f"{kind[0]}{seed}", {KIND: kind, "seed": seed})
        for kind in ("identity", "none", "dropout")
        for seed in range(3)
    ]
    plan = write_sweep(folder / "sweep", wanted)
    for run in plan.runs:
        if run.id in scores:
            finish(run, plan, scores[run.id])
    return load_table(plan, metric, by=by)


def test_rows_of_unequal_seeds_rank_by_the_seeds_that_all_have(tmp_path):
    # Of its own seeds none has the best mean, .8; on seed 1, which all have, the worst.
    scores = {"i0": 0.5, "i1": 0.5, "i2": 0.5, "n1": 0.4, "n2": 1.2}
    scores |= {"d0": 0.1, "d1": 0.6}
    table = unequal(tmp_path, scores)
    assert [row.values[KIND] for row in table.rows] == ["dropout", "identity", "none"]
    assert table.rows[2].score.mean == pytest.approx(0.8)
    assert table.rows[2].seeds == {"n1": 1, "n2": 2}
    assert table.notes[-1] == (
        "Rows have not all the same seeds; they rank by their means over seed 1: "
        "shortcut.kind=none lacks seed 0; shortcut.kind=dropout lacks seed 2."
    )


def test_rows_without_a_seed_in_common_are_not_ranked(tmp_path):
    table = unequal(tmp_path, {"i0": 0.1, "n1": 0.9, "d2": 0.5})
    assert [row.values[KIND] for row in table.rows] == ["identity", "none", "dropout"]
    assert "they have none in common and are not ranked: " in table.notes[-1]


def test_rows_of_equal_seeds_need_no_word(tmp_path):
    table = unequal(tmp_path, {"i0": 0.1, "n0": 0.9, "i1": 0.2, "n1": 0.8})
    assert [row.values[KIND] for row in table.rows] == ["none", "identity", "dropout"]
    assert not any("seeds" in note for note in table.notes)


def test_seeds_are_compared_within_a_group(tmp_path):
    """A group that is not as far does not take seeds from another."""
    head = "model.head.name"
    wanted = [
        (f"{name}{kind}{seed}", {head: name, KIND: kind, "seed": seed})
        for name in ("fcn", "unet")
        for kind in ("identity", "none")
        for seed in range(2)
    ]
    plan = write_sweep(tmp_path / "sweep", wanted)
    scores = {"fcnidentity0": 0.1, "fcnidentity1": 0.9}
    scores |= {"fcnnone0": 0.2, "fcnnone1": 0.3, "unetnone1": 0.5}
    for run in plan.runs:
        if run.id in scores:
            finish(run, plan, scores[run.id])
    grouped = load_table(plan, by=["head.name"])
    assert [row.values[KIND] for row in grouped.rows][:2] == ["identity", "none"]
    alone = load_table(plan)
    assert [row.name.split("=")[-1] for row in alone.rows[:2]] == ["identity", "none"]
    assert "over seed 1" in alone.notes[-1]


def test_a_loss_is_better_lower(plan, tmp_path):
    other = two_variants(tmp_path / "loss")
    for run in other.runs:
        losses = [9.0, 1, 2, 3, 4, 5] if run.id[0] == "i" else [9.0] + [2.0] * 5
        finish(run, other, 0.5, losses)
    best, second = load_table(other, "train_loss").rows
    assert (best.values[KIND], best.score.mean) == ("none", 2.0)
    assert second.score.mean == 3.0  # of the last five rows
    assert best.score.why == "all 3 equal"
    assert best.difference is not None
    assert (best.difference.mean, best.difference.why) == (-1.0, "all 3 equal")


def test_runs_that_are_absent_running_failed_or_cut_are_shown(tmp_path):
    plan = two_variants(tmp_path)
    runs_ = by_id(plan)
    finish(runs_["i0"], plan, 0.5)
    with begin(runs_["i1"], plan) as writer:
        writer.write_metrics(4, "train", {"loss": 1.0, "mean_iou": 0.1})
    attempt(runs_["i1"], "failed")
    with begin(runs_["n0"], plan) as writer:
        writer.write_metrics(3, "train", {"loss": 1.0, "mean_iou": 0.1})
    attempt(runs_["n0"], "finished", None)
    finish(runs_["n1"], plan, 0.6)
    attempt(runs_["n2"], None)
    with runs.claimed(runs_["n2"].folder) as ours:
        assert ours
        table = load_table(plan)
    identity, plain = table.rows
    assert dict(plain.states) == {"broken off": 1, "finished": 1, "running": 1}
    assert dict(identity.states) == {"finished": 1, "failed": 1, "waiting": 1}
    assert (identity.finished, identity.planned) == (1, 3)
    assert plain.difference is not None
    assert (plain.difference.count, plain.difference.why) == (0, "none")
    assert table.unfinished == (
        "i1 (model.shortcut.kind=identity seed=1) failed at step 4 of 10: "
        "ValueError: it broke",
        "n0 (model.shortcut.kind=none seed=0) was broken off at step 3 of 10",
        "n2 (model.shortcut.kind=none seed=2) is running at step 0 of 10",
        "i2 (model.shortcut.kind=identity seed=2) waits",
    )
    assert "shortcut.kind=none: 1 finished run has no finished baseline run." in (
        table.notes
    )
    assert len(table.runs) == 6 and table.runs["mean_iou"].count() == 2
    assert table.cost.partial


def test_runs_that_wait_are_named_in_one_line(tmp_path):
    table = load_table(two_variants(tmp_path))
    assert table.unfinished == ("6 runs wait: i0, i1, i2, n0, n1, n2",)
    assert [row.score.why for row in table.rows] == ["none", "none"]


def test_a_score_that_is_no_number_makes_the_mean_none(tmp_path):
    plan = two_variants(tmp_path)
    for run in plan.runs:
        finish(run, plan, math.nan if run.id == "i1" else 0.5)
    plain, identity = load_table(plan).rows
    assert plain.values == NONE  # no number is better than any
    assert math.isnan(identity.score.mean) and identity.score.why == "not finite"
    assert plain.difference is not None and plain.difference.why == "not finite"
    notes = load_table(plan).notes
    assert any("mean_iou is not finite or not recorded in i1:" in n for n in notes)


def test_a_metric_that_was_not_recorded(plan):
    table = load_table(plan, "shortcut_share")
    assert all(row.score.why == "not finite" for row in table.rows)
    assert "shortcut_share is not finite or not recorded in i0, i1," in table.notes[1]
    with pytest.raises(UserError, match=r"--metric='mean_iuo'.*did you mean 'mean_iou"):
        load_table(plan, "mean_iuo")


def test_scores_of_the_gradient_log(tmp_path):
    plan = write_sweep(tmp_path / "sweep", [("r", {"seed": 0})])
    # Seven logged steps of which the first two, whose ratio is 1, do not count. Site
    # norms: sqrt(100) and sqrt(1): log10 = 1; share .25 of the only shortcut.
    early = [(step, taps(9.0, 1.0, 4.0, 4.0)) for step in (1, 2)]
    late = [(step, taps(1.0, 3.0, 100.0, 1.0)) for step in range(3, 8)]
    finish(plan.runs[0], plan, 0.5, gradients=early + late)
    names = ["log10_first_over_last", "shortcut_share"]
    frame = load_table(plan, also=names).runs
    assert frame[names].iloc[0].tolist() == pytest.approx([1.0, 0.25])


def test_costs(plan):
    counts = {"programs": 6, "train_steps": 2, "cached": 0, "seconds": 8.0}
    first, second, third, *_ = plan.runs
    attempt(first, "preempted", "finished", compilations=counts, peak_memory=5)
    alone = {"peak_memory": 7, "compilations": counts, "together": 2}
    attempt(second, "finished", **alone)
    attempt(third, "finished", **alone)
    cost = load_table(plan).rows[1].cost
    assert (cost.params, cost.macs, cost.image) == (1000, 2500000, (8, 8, 3))
    assert cost.peak_memory == 7
    # 2 x 8 s and 2 x 60 s alone; the two that were trained together share 8 s and 60 s.
    assert (cost.compile_seconds, cost.wall_seconds) == (24.0, 180.0)
    assert (cost.programs, cost.train_steps) == (18, 6)
    assert cost.images_per_second == 100.0 and not cost.partial
    assert math.isnan(load_table(plan).rows[0].cost.wall_seconds)


def test_only_some_runs_are_shown_but_paired_with_all(plan):
    table = load_table(plan, only="*kind=none seed=[01]")
    assert list(table.runs["id"]) == ["n0", "n1"]
    assert table.rows[0].pairs == pytest.approx({"n0": 0.1, "n1": 0.1})
    with pytest.raises(UserError, match="--only 'x': matches none of 6 runs"):
        load_table(plan, only="x")


def test_keys_have_short_names_and_must_be_swept(plan):
    assert load_table(plan, by=["kind"]).keys == (KIND,)
    with pytest.raises(UserError, match=r"--by 'kinds': no run sets it; choose from"):
        load_table(plan, by=["kinds"])
    with pytest.raises(UserError, match="--by 'seed'"):
        load_table(plan, by=["seed"])


def test_identical_runs_of_two_variants_differ_by_nothing(tmp_path):
    plan = two_variants(tmp_path)
    for run in plan.runs:
        finish(run, plan, int(run.id[1]) / 10)
    for row in load_table(plan).rows:
        if row.difference is not None:
            assert (row.difference.mean, row.difference.why) == (0.0, "all 3 equal")


def test_a_base_config_alone(tmp_path):
    plan = write_sweep(tmp_path / "sweep", [("r", {})])
    finish(plan.runs[0], plan, 0.25)
    (row,) = load_table(plan).rows
    assert (row.name, row.values, row.difference) == ("base config", {}, None)


def test_the_frame_speaks_of_resolved_configs():
    assert config({"seed": 3})["seed"] == 3
