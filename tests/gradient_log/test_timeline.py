"""Slopes, events and shares by stage, on logs whose answer is known."""

import numpy as np
import pandas as pd
import pytest

from resseg.gradient_log.sparkline import norm_line, share_line
from resseg.gradient_log.timeline import (
    first_events,
    share_by_stage,
    slope_per_block,
    timelines,
)

PIXELS, NUMEL = 8.0, 4


def log(totals, shares=None, kind="block", stage="s{}"):
    """A log of forks whose site norms are the rows of `totals` `[forks, steps]`."""
    totals = np.asarray(totals, float)
    rows = []
    for depth, line in enumerate(totals):
        for number, total in enumerate(line):
            share = 0.25 if shares is None else shares[depth]
            for path, part in (("shortcut", share), ("branch", 1 - share)):
                rows.append(
                    {
                        "step": 10 * (number + 1),
                        "depth": depth,
                        "fork": f"{stage.format(depth // 2)}/block{depth % 2 + 1}",
                        "kind": kind,
                        "path": path,
                        "site": total * np.sqrt(part),
                        "share": part,
                        "cosine": 0.0,
                        "total_l2": total * np.sqrt(NUMEL) / PIXELS,
                        "nonfinite": int(not np.isfinite(total)),
                        "numel": NUMEL,
                        "loss_pixels": PIXELS,
                        "loss_scale": 1.0,
                    }
                )
    return pd.DataFrame(rows)


def test_a_timeline_holds_the_site_norms_of_sum_and_paths():
    (one, two) = timelines(log([[4.0, 8.0], [1.0, 2.0]]))
    assert (one.name, one.paths, two.depth) == (
        "s0/block1",
        ("shortcut", "branch"),
        1,
    )
    np.testing.assert_allclose(one.total, [4, 8], rtol=1e-12)
    np.testing.assert_allclose(one.site[0], [2, 4], rtol=1e-12)
    np.testing.assert_allclose(two.share, [[0.25] * 2, [0.75] * 2])
    np.testing.assert_array_equal(one.steps, [10, 20])


def test_the_slope_is_that_of_a_geometric_profile():
    halving = [[0.5**depth * 3.0] * 3 for depth in range(6)]
    assert slope_per_block(timelines(log(halving))) == pytest.approx(np.log10(0.5))
    # Over the steps the mean is geometric: 1 and 100 count as 10.
    mixed = [[1.0, 100.0], [100.0, 1.0], [10.0, 10.0]]
    assert slope_per_block(timelines(log(mixed))) == pytest.approx(0, abs=1e-12)


def test_a_block_without_gradient_is_left_out_of_the_slope():
    lines = timelines(log([[8.0], [0.0], [2.0]]))
    assert slope_per_block(lines) == pytest.approx(np.log10(0.5))
    assert np.isnan(slope_per_block(lines[:1]))


def test_the_first_block_that_vanishes_explodes_or_breaks_is_named_with_its_step():
    lines = timelines(
        log(
            [
                [1.0, 1e-5, 1e-5, 1.0, 1.0],
                [1.0, 1e-4, 1.0, 1.0, 1.0],
                [1.0, 1.0, 2e4, np.nan, 3e4],
                [1.0, 1.0, 1.0, 1.0, 1.0],
            ]
        )
    )
    vanishes, explodes, broken = first_events(lines)
    # Of two blocks at step 20 the deeper one: there the gradient was lost.
    assert vanishes[:3] == ("vanishes", "s0/block2", 20)
    assert vanishes.ratio == pytest.approx(1e-4)
    assert (vanishes.steps, vanishes.blocks) == (2, 2)
    assert explodes[:3] == ("explodes", "s1/block1", 30)
    assert (explodes.steps, explodes.blocks) == (2, 1)
    assert broken[:3] == ("is not finite", "s1/block1", 40)
    assert "vanishes at step 20 with 1.0e-04 of the last block's norm" in str(vanishes)
    assert str(broken) == "s1/block1 is not finite at step 40 (1 logged step)."


def test_healthy_blocks_make_no_event_and_other_forks_do_not_count():
    assert first_events(timelines(log([[1.0], [900.0], [1.0]]))) == []
    assert first_events(timelines(log([[1.0], [1e9]], kind="long_skip"))) == []


def test_where_the_last_block_is_dead_the_largest_is_the_measure():
    (event,) = first_events(timelines(log([[5.0], [1.0], [0.0]])))
    assert event[:3] == ("vanishes", "s1/block1", 10) and event.ratio == 0


def test_shares_are_averaged_over_the_blocks_of_a_stage():
    shares = share_by_stage(timelines(log([[1.0]] * 4, shares=[0.2, 0.4, 0.5, np.nan])))
    assert list(shares) == ["s0", "s1"]
    np.testing.assert_allclose(shares["s0"], [0.3])
    np.testing.assert_allclose(shares["s1"], [0.5])


def test_a_norm_line_spans_a_decade_at_least():
    assert norm_line(np.array([1.0, 1.1])) == "▄▅"
    assert norm_line(10.0 ** np.arange(8)) == "▁▂▃▄▅▆▇█"
    assert norm_line(np.array([1.0, np.nan, 0.0, 1.0])) == "▅x_▅"
    assert norm_line(np.array([0.0, np.inf])) == "_x"
    assert norm_line(np.array([1.0, 1e8]), unicode=False) == ".@"


def test_a_share_line_is_absolute_and_of_fixed_width():
    assert share_line(np.array([0.0, 0.5, 1.0, np.nan])) == "▁▅█?"
    line = share_line(np.linspace(0, 1, 1000))
    assert len(line) == 10 and list(line) == sorted(line)
