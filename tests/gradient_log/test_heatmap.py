from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from resseg.gradient_log import heatmap
from resseg.runs import open_run


def log(site, path="shortcut", fork="b", depth=0, kind="block"):
    """A log of one path: a step per value of `site`."""
    return pd.DataFrame(
        {
            "step": np.arange(len(site)) * 10,
            "depth": depth,
            "fork": fork,
            "kind": kind,
            "path": path,
            "site": site,
            "share": 0.25,
            "cosine": 0.0,
            "total_l2": 1.0,
            "nonfinite": 0,
            "numel": 4,
            "loss_pixels": 2.0,
        }
    )


def test_cells_are_mean_logs_and_trouble_stays_visible():
    site = np.array([1.0, 100.0, 0.0, 0.0, 10.0, np.nan, 0.0, 10.0])
    rows = log(site)
    bins = heatmap._bins(rows["step"].to_numpy())
    assert bins.count == 8
    pairs = replace(bins, index=np.arange(8) // 2, count=4)
    (got,) = heatmap._log_site(rows, [(0, "shortcut")], pairs)
    np.testing.assert_array_equal(got, [1.0, -np.inf, np.nan, 1.0])


def test_long_logs_are_binned_evenly():
    bins = heatmap._bins(np.repeat(np.arange(1000) * 7, 3))
    assert bins.count == 300 and len(bins.steps) == 1000
    sizes = np.bincount(bins.index)
    assert sizes.min() >= 3 and sizes.max() <= 4


def test_rows_are_forks_in_depth_order_whatever_order_they_come_in():
    deep = log([100.0, 100.0], fork="deep", depth=7)
    shallow = log([1.0, 1.0], fork="shallow", depth=2)
    rows = pd.concat([deep, shallow])
    bins = heatmap._bins(rows["step"].to_numpy())
    (section,) = heatmap._sections("block", rows, bins)
    assert section.labels == ["shallow", "deep"]
    site, share = section.panels
    np.testing.assert_array_equal(site.values, [[0, 0], [2, 2]])
    assert share.is_share and (share.values == 0.25).all()


def test_the_colour_scale_is_centred_on_the_median():
    rows = log(10.0 ** np.array([-3, -2, -2, -2, 4]))
    bins = heatmap._bins(rows["step"].to_numpy())
    scale = heatmap._site_scale(heatmap._sections("block", rows, bins))
    assert (scale.vmin + scale.vmax) / 2 == pytest.approx(-2)
    assert scale.vmax > 3


def test_the_picture_marks_dead_and_broken_cells(fake_run, tmp_path):
    import cv2

    gradients = open_run(fake_run(tmp_path / "run")).gradients
    heatmap.save_heatmap(gradients, tmp_path / "bad.png", "fake")
    rgb = cv2.imread(str(tmp_path / "bad.png"))[..., ::-1]
    yellow = (rgb == (255, 225, 25)).all(axis=2).sum()
    heatmap.save_heatmap(
        gradients[gradients["fork"] != "stage2/block1"], tmp_path / "ok.png"
    )
    rgb = cv2.imread(str(tmp_path / "ok.png"))[..., ::-1]
    legend = (rgb == (255, 225, 25)).all(axis=2).sum()
    assert legend > 0 and yellow > 10 * legend
