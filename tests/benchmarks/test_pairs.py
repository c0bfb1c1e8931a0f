"""Comparisons with a peer: pairs in turns, quartiles of their ratios, what is kept."""

import json

import numpy as np

from benchmarks import pairs


def test_pairs_are_in_turns_which_side_comes_first():
    order = []

    def side(name, seconds):
        left = iter(seconds)
        return lambda: order.append(name) or next(left)

    ours, theirs = pairs.interleaved(side("a", [1, 2, 3]), side("b", [4, 5, 6]), 3)
    assert order == ["a", "b", "b", "a", "a", "b"]
    assert (ours, theirs) == ([1, 2, 3], [4, 5, 6])


# Ratios 2, 5 and 4; the quotient of both medians would be 5.
ROW = pairs.Comparison(
    "read", [0.5, 1.0, 4.0], [1.0, 5.0, 16.0], "peer 1.0", work=100, unit="images"
)


def test_the_speed_is_the_median_of_the_ratios_of_pairs():
    np.testing.assert_allclose(ROW.speed(), [3.0, 4.0, 4.5])
    what, ours, theirs, speed, _ = ROW.cells()
    assert (what, ours, theirs) == ("read", "100 images/s", "20 images/s (peer 1.0)")
    assert speed == "**4.00** (3.00 to 4.50, 3 pairs)"


def test_times_without_work_are_seconds():
    row = pairs.Comparison("start", [0.0123], [2.5], "peer")
    assert row.cells()[1:3] == ["12.3 ms", "2.5 s (peer)"]


def test_a_report_keeps_every_pair_device_and_versions(tmp_path, capsys):
    pairs.report("input", [ROW], ["numpy"], tmp_path / "new")
    table = (tmp_path / "new" / "input.md").read_text()
    assert capsys.readouterr().out == table
    assert "| read | 100 images/s | 20 images/s (peer 1.0) | **4.00**" in table
    kept = json.loads((tmp_path / "new" / "input.json").read_text())
    assert kept["versions"] == {"numpy": np.__version__}
    assert kept["device"] and kept["device"] in table and kept["cores"] > 0
    (row,) = kept["rows"]
    assert row["ours"] == [0.5, 1.0, 4.0] and row["speed"] == [3.0, 4.0, 4.5]


def test_a_report_without_a_folder_only_prints(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    pairs.report("input", [ROW], ["numpy"], None)
    assert "**4.00**" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())
