"""Intervals over images: against scipy's, against how scores really vary, paired."""

import time

import numpy as np
import pytest
from scipy import stats

from resseg.inference import intervals, metrics
from resseg.inference import probability_bins as binned
from resseg.inference.per_image import PerImage


def counts_of(images, classes=3, seed=0, odds=4, shape=1.0):
    """Confusion matrices of images, some of them harder, and their sums."""
    rng = np.random.default_rng(seed)
    sizes = rng.gamma(shape, 50, (images, classes, classes))
    confusion = rng.poisson(sizes * (1 + odds * np.eye(classes)))
    sums = {
        "hits": confusion.diagonal(0, 1, 2),
        "true": confusion.sum(2),
        "predicted": confusion.sum(1),
        "boundary": np.stack([confusion.min(2), confusion.max(2)], -1),
    }
    return confusion, {name: value.astype(float) for name, value in sums.items()}


def test_scores_of_sums_are_those_of_the_metrics():
    confusion, sums = counts_of(5)
    for missing in (False, True):
        if missing:  # class 2 is nowhere, class 1 predicted only
            confusion[:, 1:] = confusion[:, :, 2] = 0
            sums |= {"hits": confusion.diagonal(0, 1, 2), "true": confusion.sum(2)}
            sums |= {"predicted": confusion.sum(1)}
            sums["boundary"][:, 2] = 0
        scores = intervals.scores_of_sums({k: v.sum(0) for k, v in sums.items()})
        wanted = metrics.scores(confusion.sum(0))
        wanted |= metrics.boundary_scores(sums["boundary"].sum(0))
        assert set(scores) == set(wanted)
        for name, value in wanted.items():
            np.testing.assert_allclose(scores[name], value, rtol=1e-14)


def test_intervals_are_those_of_scipy():
    """Of few images, most of whose pixels are in two: bias and skew are large."""
    confusion, sums = counts_of(25, seed=8, shape=0.1)

    def iou(images):
        return metrics.scores(confusion[images.astype(int)].sum(0))["iou"][0]

    def ends(method):
        return stats.bootstrap(
            (np.arange(25),),
            iou,
            vectorized=False,
            n_resamples=3000,
            method=method,
            rng=np.random.default_rng(1),
        ).confidence_interval

    found = intervals.intervals(sums, 3000)["iou"]
    wanted, simple = ends("BCa"), ends("percentile")
    width = wanted.high - wanted.low
    gaps = [found.low[0] - wanted.low, found.high[0] - wanted.high]
    assert np.abs(gaps).max() < 0.06 * width
    assert (
        max(abs(simple.low - wanted.low), abs(simple.high - wanted.high)) > 0.1 * width
    )


def test_what_is_counted_does_not_depend_on_the_order_of_images():
    rng = np.random.default_rng(0)
    masks = rng.integers(0, 3, (4, 2, 8, 8))
    sums = []
    for order in (range(4), (2, 0, 3, 1)):
        images = PerImage(3)
        for place in order:
            images.take(f"n{place}", *masks[place], np.full((3, 2), place))
        sums.append(images.sums())
    for name, value in sums[0].items():
        np.testing.assert_array_equal(value, sums[1][name])
    assert sums[0]["boundary"][:, 0, 0].tolist() == [0, 1, 2, 3]


def test_intervals_hold_the_score_of_many_images_as_often_as_they_say():
    _, everything = counts_of(20_000)
    truth = intervals.scores_of_sums({k: v.sum(0) for k, v in everything.items()})
    held = []
    for split in range(200):
        part = slice(100 * split, 100 * split + 40)
        sums = {name: value[part] for name, value in everything.items()}
        held.append(
            [
                interval.low <= truth[name] <= interval.high
                for name, interval in intervals.intervals(sums, 200).items()
                if name in ("mean_iou", "pixel_accuracy", "mean_boundary_iou")
            ]
        )
    assert ((np.mean(held, 0) > 0.88) & (np.mean(held, 0) < 0.99)).all()


def test_paired_differences_are_known_better_than_two_scores():
    _, sums = counts_of(80)
    better = dict(sums)
    better["hits"] = sums["hits"] + 0.1 * (sums["true"] - sums["hits"])
    ends = intervals.differences(sums, better)["pixel_accuracy"]
    totals = [{k: v.sum(0) for k, v in each.items()} for each in (sums, better)]
    scores = [intervals.scores_of_sums(each)["pixel_accuracy"] for each in totals]
    assert 0 < ends.low < scores[1] - scores[0] < ends.high
    alone = intervals.intervals(sums)["pixel_accuracy"]
    assert ends.high - ends.low < 0.3 * (alone.high - alone.low)


def test_there_is_none_of_few_images_nor_of_what_does_not_vary():
    _, sums = counts_of(19)
    assert intervals.intervals(sums) == {}
    _, sums = counts_of(20)
    sums["hits"][:, 0] = sums["true"][:, 0] = sums["predicted"][:, 0]
    found = intervals.intervals(sums)["iou"]
    assert np.isnan(found.low[0]) and np.isnan(found.high[0])
    assert (found.low[1:] < found.high[1:]).all()
    same = intervals.differences(sums, sums)["mean_iou"]
    assert np.isnan(same.low)
    with pytest.raises(ValueError, match=r"counts of \[19, 20\] images"):
        intervals.differences(sums, counts_of(19)[1])


def test_a_class_that_resamples_lack_has_the_interval_of_the_others():
    _, sums = counts_of(30)
    for name in ("hits", "true", "predicted"):
        sums[name][1:, 2] = 0  # class 2 is in one image of 30
    found = intervals.intervals(sums)
    assert np.isfinite(found["mean_iou"].low)
    # Where it is drawn its IoU is always the same.
    assert np.isnan(found["iou"].low[2]) and np.isfinite(found["iou"].low[1])


def test_a_thousand_resamples_of_a_thousand_images_take_a_moment():
    _, sums = counts_of(1000, classes=21)
    rng = np.random.default_rng(0)
    cells = rng.poisson(2, (1000, 2, binned.CELLS)).astype(float)
    sums["top"] = np.stack([cells, cells / 2, rng.random(cells.shape)], -1)
    sums |= {name: np.ones((1000, 21, 2)) for name in ("pixels", "nll", "brier")}
    began = time.process_time()
    found = intervals.intervals(sums)
    assert time.process_time() - began < 4  # 0.5 s on one core
    assert found["ece"].low < found["ece"].high


def test_a_biased_score_has_its_interval_shifted_twice_the_bias():
    """Efron 1987 with no acceleration: ends at the shares of 2 z0 ± 1.96."""
    drawn, left_out = np.arange(10_000) / 10_000, np.array([0.0, 1.0])
    found = intervals._ends(drawn, 0.8, left_out)
    shares = stats.norm.cdf(2 * stats.norm.ppf(0.8) + np.array([-1.96, 1.96]))
    np.testing.assert_allclose(found, shares, atol=1e-3)
