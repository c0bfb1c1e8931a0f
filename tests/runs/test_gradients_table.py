import math
from types import SimpleNamespace

import numpy as np
import pytest

from resseg.gradients.joins import AddendMoments
from resseg.gradients.statistics import TapStatistics
from resseg.runs.gradients_table import BLOCK_COLUMNS, COLUMNS, block_rows, rows


def fork(*paths, name="f", shape=(2, 3, 5, 7)):
    return SimpleNamespace(name=name, kind="block", paths=paths, shape=shape)


def measured(*cotangents):
    """The statistics a tap would return for these cotangents."""
    total = np.sum(cotangents, axis=0)
    inner = np.sum(cotangents[0] * cotangents[1]) if len(cotangents) == 2 else 0.0
    inners = [inner] * len(cotangents) + [0.0]
    return TapStatistics(
        np.array(
            [
                [np.sum(g * g), np.sum(~np.isfinite(g)), product]
                for g, product in zip((*cotangents, total), inners, strict=True)
            ]
        )
    )


def ones(paths, value=1.0):
    return TapStatistics(np.full((paths + 1, 3), value))


def test_derived_columns_equal_their_definitions():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 2, 3, 5, 7))
    got = rows(4, [fork("shortcut", "branch")], {"f": measured(a, b)}, 60.0)

    norm = np.linalg.norm
    assert got["step"] == [4, 4] and got["depth"] == [0, 0]
    assert got["path"] == ["shortcut", "branch"]
    np.testing.assert_allclose(got["l2"], [norm(a), norm(b)])
    np.testing.assert_allclose(got["rms"], [a.std(mean=0), np.sqrt((b**2).mean())])
    np.testing.assert_allclose(got["site"], 60 * np.array(got["rms"]))
    np.testing.assert_allclose(sum(got["share"]), 1)
    np.testing.assert_allclose(
        got["share"][0], norm(a) ** 2 / (norm(a) ** 2 + norm(b) ** 2)
    )
    np.testing.assert_allclose(got["cosine"], [(a * b).sum() / (norm(a) * norm(b))] * 2)
    np.testing.assert_allclose(got["total_l2"], [norm(a + b)] * 2)
    assert got["numel"] == [210, 210] and got["nonfinite"] == [0, 0]


def test_site_norm_does_not_depend_on_resolution():
    """Under a pixel mean, the cotangent of n pixels is 1/n each."""
    sites = []
    for side in (8, 32):
        g = np.full((2, side, side, 3), 1 / (2 * side * side))
        one = fork("a", "b", shape=g.shape)
        sites.append(rows(0, [one], {"f": measured(g, g)}, 2 * side * side)["site"])
    np.testing.assert_allclose(sites[0], sites[1])


def test_columns_are_the_documented_ones():
    got = rows(0, [fork("a", "b")], {"f": ones(2)}, 1.0)
    assert list(got) == [column.name for column in COLUMNS]
    blocks = block_rows(0, {"x": 4.0}, {"x": 1.0}, {"x": 9.0})
    assert list(blocks) == [column.name for column in BLOCK_COLUMNS]
    assert blocks["update_ratio"] == [1.5] and blocks["params_l2"] == [2.0]
    assert all(column.meaning for column in COLUMNS + BLOCK_COLUMNS)


def test_not_finite_stays_and_is_counted():
    a, b = np.ones((2, 4))
    a[1], b[2] = np.nan, np.inf
    got = rows(0, [fork("s", "b", shape=(4,))], {"f": measured(a, b)}, 4.0)
    assert got["nonfinite"] == [1, 1]
    assert math.isnan(got["l2"][0]) and math.isinf(got["l2"][1])
    assert math.isnan(got["site"][0]) and math.isinf(got["site"][1])
    assert math.isnan(got["share"][0]) and math.isnan(got["cosine"][0])


def test_a_dead_path_has_norm_zero_and_no_cosine():
    a, b = np.zeros(4), np.ones(4)
    got = rows(0, [fork("s", "b", shape=(4,))], {"f": measured(a, b)}, 4.0)
    assert got["l2"] == [0.0, 2.0] and got["share"] == [0.0, 1.0]
    assert np.isnan(got["cosine"]).all()
    array = np.array([[0, 0, 1e-9], [9, 0, 1e-9], [9.000001, 0, 0]])
    rounded = {"f": TapStatistics(array)}
    assert np.isnan(rows(0, [fork("s", "b")], rounded, 4.0)["cosine"]).all()


def test_cosine_belongs_to_two_paths_alone():
    got = rows(0, [fork("a", "b", "c")], {"f": ones(3)}, 1.0)
    assert np.isnan(got["cosine"]).all() and len(got["step"]) == 3


def test_depth_is_the_order_given_and_the_loss_scale_is_divided_out():
    two = [fork("a", "b", name="late"), fork("a", "b", name="early")]
    taps = {"early": ones(2, 64.0), "late": ones(2, 16.0)}
    got = rows(0, two, taps, 1.0, loss_scale=4.0)
    assert got["fork"] == ["late", "late", "early", "early"]
    assert got["depth"] == [0, 0, 1, 1]
    assert got["l2"] == [1.0, 1.0, 2.0, 2.0]


def test_statistics_of_another_fork_are_refused():
    with pytest.raises(ValueError, match="'f' are of 3 paths, expected 2"):
        rows(0, [fork("a", "b")], {"f": ones(3)}, 1.0)


def test_nearly_orthogonal_paths_keep_their_cosine():
    """The norms alone lose it: in float32 |a + b|^2 - |a|^2 - |b|^2 is rounding."""
    a = np.array([1.0, 1e-6, 0.0], np.float32)
    b = np.array([0.0, 1.0, 1.0], np.float32)
    squares = np.float32([a @ a, b @ b, (a + b) @ (a + b)])
    exact = 1e-6 / math.sqrt(2)
    from_norms = (squares[2] - squares[0] - squares[1]) / 2 / math.sqrt(2)
    got = rows(0, [fork("s", "b", shape=(3,))], {"f": measured(a, b)}, 1.0)
    assert got["cosine"][0] == pytest.approx(exact, rel=1e-5)
    assert abs(from_norms - exact) > 1e-3 * exact


def test_what_a_block_adds_is_told_beside_its_gradient():
    rng = np.random.default_rng(1)
    x, h = rng.normal(size=(2, 64))
    moments = np.array([(x * x).mean(), (h * h).mean(), (x * h).mean()])
    joins = {"f": AddendMoments(moments)}
    two = [fork("shortcut", "branch"), fork("skip", "deeper", name="skip")]
    got = rows(0, two, {"f": ones(2), "skip": ones(2)}, 1.0, joins=joins)
    assert got["value_rms"][:2] == pytest.approx(
        [np.sqrt((x * x).mean()), np.sqrt((h * h).mean())]
    )
    cosine = x @ h / np.linalg.norm(x) / np.linalg.norm(h)
    assert got["value_cosine"][:2] == pytest.approx([cosine, cosine])
    assert np.isnan(got["value_rms"][2:] + got["value_cosine"][2:]).all()
    alone = rows(0, [fork("branch")], {"f": ones(1)}, 1.0, joins=joins)
    assert alone["value_rms"] == got["value_rms"][1:2]


def test_the_gate_of_a_block_adds_nothing_and_has_a_gradient():
    gated = fork("shortcut", "branch", "gate")
    array = np.array([[4.0, 0, 0], [9.0, 0, 0], [1.0, 0, 0], [16.0, 0, 0]])
    statistics = {"f": TapStatistics(array)}
    joins = {"f": AddendMoments(np.array([4.0, 9.0, 3.0]))}
    got = rows(1, [gated], statistics, 4.0, joins=joins)
    assert got["path"] == ["shortcut", "branch", "gate"]
    assert got["value_rms"][:2] == [2.0, 3.0] and math.isnan(got["value_rms"][2])
    assert got["value_cosine"] == [0.5] * 3
    assert got["l2"] == [2.0, 3.0, 1.0] and got["share"][2] == 1 / 14
