"""The page of a sweep, from a folder whose every number is known."""

import html
import json
import math
import re
import time

import numpy as np
import pytest
from many_runs import ALPHA, RATE, score, write_many

from resseg.cli.main import main
from resseg.report.sweep import page
from resseg.report.sweep.bands import band, thin
from resseg.report.sweep.naming import short
from resseg.report.sweep.read import read
from resseg.runs import write_json
from resseg.sweeps import ordering
from resseg.sweeps.plan import read_plan
from resseg.sweeps.table.statistics import mean_interval
from resseg.sweeps.table.table import load_table

HOSTILE = "</script><script>alert(1)</script>\"'&<b>ü漢\u2028${x}|`" + "x" * 300
LIMIT = 15e6  # bytes
BUILT_IN = 60.0  # seconds, 200 runs


def claim(name, better, worse, **more):
    return {
        **ordering(name, [{ALPHA: better}, {ALPHA: worse}]),
        **more,
    }


CLAIMS = (claim("more is better", 1.0, 0.0), claim("less is better", 0.0, 1.0))


def block(text):
    found = re.search(r'id="page-data">(.*?)</script>', text)
    assert found is not None
    return json.loads(found[1])


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sweep") / "many"
    write_many(folder, claims=CLAIMS)
    return folder


@pytest.fixture(scope="module")
def text(many):
    return page.render(read(many))


def test_numbers_are_those_of_the_table(many, text):
    table = load_table(read_plan(many))
    told = block(text)["tables"]["variants"]
    column = {name: at for at, name in enumerate(told["columns"])}
    for row, shown in zip(table.rows, told["rows"], strict=True):
        assert shown[column["variant"]] == row.name
        assert shown[column["mean"]] == pytest.approx(row.score.mean, rel=1e-5)
        assert shown[column["mean_low"]] == pytest.approx(row.score.low, rel=1e-5)
    best = table.rows[0]
    assert f"{best.score.mean:.4f} ± {best.score.half:.4f}" in text


def test_every_pair_is_a_dot_and_student_is_drawn(many, text):
    data = block(text)
    dots = data["tables"]["differences"]["rows"]
    table = load_table(read_plan(many))
    pairs = [value for row in table.rows for value in row.pairs.values()]
    assert len(dots) == len(pairs) == 4 * 3
    assert sorted(dot[3] for dot in dots) == pytest.approx(sorted(pairs), rel=1e-5)
    first = data["forest"]["rows"][0]
    row = table.rows[first["variant"]]
    own = mean_interval(list(row.pairs.values()))
    assert row.difference is not None
    assert first["student"] == pytest.approx([own.low, own.high], rel=1e-4)
    assert first["bootstrap"] is None
    assert "3 pairs per row" in text and "BCa bootstrap interval" not in text
    assert ">minus baseline<" in text and ">bootstrap (BCa)<" not in text


def test_question_prediction_and_claims_are_told(text):
    assert "<h1>Is it?</h1>" in text
    assert "<strong>Prediction:</strong> yes." in text
    assert "Claims of the study: 1 hold, 1 fail" in text
    assert '<strong class="verdict holds">✓ holds: </strong>' in text
    assert '<strong class="verdict fails">✕ fails: </strong>' in text
    mean = np.mean(
        [score(1.0, rate, seed) for rate in (0.05, 0.1) for seed in (0, 1, 2)]
    )
    assert html.escape(f"{ALPHA}=1.0 {mean:.4f} > ") in text
    assert " over seeds 0, 1, 2</p>" in text


def test_the_bootstrap_is_drawn_and_listed_from_twenty_pairs_on(tmp_path):
    folder = tmp_path / "twenty"
    write_many(folder, alphas=(0.0, 1.0), rates=(0.1,), seeds=20, forks=())
    text = page.render(read(folder))
    (row,) = block(text)["forest"]["rows"]
    (other,) = (r for r in load_table(read_plan(folder)).rows if r.pairs)
    assert other.bootstrap is not None
    ends = [other.bootstrap.low, other.bootstrap.high]
    assert row["bootstrap"] == pytest.approx(ends, rel=1e-4)
    assert ">bootstrap (BCa)<" in text and "95 % BCa bootstrap interval" in text


def test_the_best_is_the_best_on_the_seeds_that_all_have(tmp_path):
    """Runs 0 to 2 are α = 0, 3 to 5 α = 1, whose first seed is missing."""
    folder = tmp_path / "unequal"
    alphas = {"alphas": (0.0, 1.0), "rates": (0.1,), "forks": ()}
    write_many(folder, **alphas, keep=lambda number: number not in (0, 5))
    text = page.render(read(folder))
    assert f"{score(1.0, 0.1, 1):.3f}" in text
    assert "1 seed that all variants have" in text
    assert "they rank by their means over seed 1: " in text


def test_curves_have_the_mean_and_range_of_the_seeds(text):
    rows = block(text)["tables"]["curve-loss"]["rows"]
    one = [row for row in rows if row[0] == 0]
    assert [row[1:3] for row in one] == [[step, 3] for step in range(1, 11)]
    assert one[0][3:] == pytest.approx([2.1, 2.0, 2.2])
    assert "band = lowest to highest seed (3 seeds at a step; not an interval)" in text


def test_gradients_are_those_of_the_log(text):
    tables = block(text)["tables"]
    first = tables["site"]["rows"][0]
    assert first[:3] == [0, "stage1/block1", 3]
    assert first[3] == pytest.approx(15 * math.log10(0.5), rel=1e-4)
    shares = {row[0]: row[3] for row in tables["share"]["rows"]}
    names = [variant["name"] for variant in block(text)["sweep"]["variants"]]
    for at, share in shares.items():
        alpha = float(re.findall(r"shortcut=([\d.]+)", names[at])[0])
        assert share == pytest.approx(alpha / (1 + alpha), abs=1e-5)
    assert text.count("<svg viewBox") == 12
    assert "Dashed: its baseline." in text


def test_doses_join_runs_that_differ_in_one_key(text):
    doses = {dose["key"]: dose for dose in block(text)["doses"]}
    assert list(doses) == [ALPHA, RATE]
    assert [line["x"] for line in doses[ALPHA]["lines"]] == [[0, 0.5, 1]] * 2
    table = block(text)["tables"][doses[ALPHA]["table"]]
    assert len(table["rows"]) == 18
    for line, alpha, seed, _, value in table["rows"]:
        name = doses[ALPHA]["lines"][line]["name"]
        rate = float(name.removeprefix("learning_rate="))
        assert value == pytest.approx(score(alpha, rate, seed), rel=1e-5)


def test_runs_that_are_missing_are_named_with_the_reason(tmp_path, capsys):
    folder = tmp_path / "part"
    write_many(folder, seeds=2, keep=lambda number: number not in (3, 7, 11))
    failed = {
        **{"started": 0.0, "ended": 9.0, "outcome": "failed", "host": "h"},
        **{"message": f"ValueError: {HOSTILE}", "process": 1},
    }
    (folder / "run003").mkdir()
    write_json(folder / "run003" / "status.json", {"attempts": [failed]})
    (folder / "run007").mkdir()
    cut = failed | {"outcome": None, "ended": None, "message": None}
    write_json(folder / "run007" / "status.json", {"attempts": [cut]})
    (folder / "run000" / "report.html").write_text("a page")
    assert main(["report", str(folder)]) == 0
    assert capsys.readouterr().out == f"wrote {folder / 'report.html'}\n"
    text = (folder / "report.html").read_text()
    assert "Not the whole study: 9 of 12 runs are finished" in text
    assert "(1 failed, 1 broken off, 1 waiting)" in text
    listed = re.findall(r"<li>(run\d+) .*? (failed|waits|was broken off)", text)
    assert listed == [
        ("run003", "failed"),
        ("run007", "was broken off"),
        ("run011", "waits"),
    ]
    assert html.escape(f"ValueError: {HOSTILE}") in text
    assert '<a href="run000/report.html"><code>run000</code></a>' in text
    assert text.count("/report.html") == 1


def test_hostile_names_are_text(tmp_path):
    folder = tmp_path / "hostile"
    texts = {"data.name": HOSTILE}
    claims = [claim(HOSTILE, 1.0, 0.0)]
    question = f"{HOSTILE}\n\nPrediction {HOSTILE}"
    write_many(
        folder,
        rates=(0.05,),
        study=HOSTILE,
        question=question,
        claims=claims,
        texts=texts,
    )
    text = page.render(read(folder))
    assert "<script>alert" not in text and "<b>ü" not in text
    assert text.count("</script>") == 7
    assert html.escape(" ".join(HOSTILE.split())) in text
    assert block(text)["title"] == HOSTILE


def test_one_seed_has_no_interval_and_no_gradients_no_drawing(tmp_path):
    folder = tmp_path / "single"
    write_many(folder, alphas=(0.0, 1.0), rates=(0.1,), seeds=1, forks=())
    text = page.render(read(folder))
    row = block(text)["forest"]["rows"][0]
    assert row["student"] is None and row["bootstrap"] is None
    assert row["why"] == "1 only"
    assert "No finished run has logged this." in text


def test_a_sweep_that_has_not_begun_has_a_page(tmp_path):
    folder = tmp_path / "new"
    write_many(folder, keep=lambda number: False)
    text = page.render(read(folder))
    assert "0 of 18 runs are finished</strong> (18 waiting)" in text
    assert "there is no difference to show" in text
    assert block(text)["forest"] is None and block(text)["curves"] == []


def test_another_metric_is_compared_where_the_folder_is_a_sweep(many, tmp_path, capsys):
    out = tmp_path / "page.html"
    command = ["report", str(many), "--metric", "train_loss", "--out", str(out)]
    assert main(command) == 0
    assert block(out.read_text())["sweep"]["metric"] == "train_loss"
    assert main(["report", str(many), "--metric", "iou"]) == 2
    assert "--metric='iou': choose from" in capsys.readouterr().err
    run = many / "run000"
    assert main(["report", str(run), "--metric", "train_loss"]) == 2
    assert "is no sweep folder" in capsys.readouterr().err


def test_markdown_says_the_same(many, tmp_path, capsys):
    out = tmp_path / "sweep.md"
    assert main(["report", str(many), "--format", "md", "--out", str(out)]) == 0
    text = out.read_text()
    assert text.startswith("# Is it?\n\nPrediction: yes.\n")
    assert "- ✓ Claim holds: more is better" in text
    best = load_table(read_plan(many)).rows[0]
    assert f"| {best.score.mean:.4f} ± {best.score.half:.4f} |" in text
    pictures = re.findall(r"\]\((sweep/[\w-]+\.png)\)", text)
    names = ["differences", "curve-score", "curve-loss", "dose-0", "dose-1"]
    names += ["site", "share", "cost"]
    assert pictures == [f"sweep/{name}.png" for name in names]
    for picture in pictures:
        assert (tmp_path / picture).read_bytes().startswith(b"\x89PNG")


def test_bands_leave_a_gap_where_a_seed_diverged():
    found = band([{2: 1.0, 1: 3.0}, {1: 5.0, 2: math.nan}, {1: 4.0}])
    assert found is not None
    assert found.places == (1, 2) and found.counts == (3, 2)
    assert found.mean[0] == 4 and math.isnan(found.mean[1])
    assert (found.low[0], found.high[0]) == (3, 5)
    assert band([{}, {}]) is None


def test_thin_curves_keep_the_same_steps_however_long_they_are():
    whole = thin([(step, 0.0) for step in range(1, 10001)], 10000)
    part = thin([(step, 0.0) for step in range(1, 3001)], 10000)
    assert len(whole) <= 122 and 1 in whole and 10000 in whole
    assert list(part) == list(whole)[: len(part)]


def test_labels_leave_out_what_follows_from_the_rest():
    values = [
        {"optim.name": "sgd", "optim.learning_rate": 0.1, "a.b": 1},
        {"optim.name": "adamw", "optim.learning_rate": 0.2, "a.b": 1},
        {"optim.name": "adamw", "optim.learning_rate": 0.2, "a.b": 2},
    ]
    assert short(values, ["x", "y", "z"]) == ["sgd, b=1", "adamw, b=1", "adamw, b=2"]
    long = short([{"a": "x" * 99 + end} for end in "yz"], ["", ""])
    assert [len(name) for name in long] == [58, 58] and long[0] != long[1]


def test_a_page_stays_small_and_quick(tmp_path):
    folder = tmp_path / "forty"
    write_many(
        folder, np.linspace(0, 1, 5).tolist(), (0.1, 0.2), 4, steps=30, logged=30
    )
    began = time.monotonic()
    text = page.render(read(folder))
    assert time.monotonic() - began < BUILT_IN
    assert len(text.encode()) < LIMIT / 5


@pytest.mark.slow
def test_a_page_of_200_runs_stays_small_and_quick(tmp_path):
    folder = tmp_path / "many"
    alphas = np.linspace(0, 1, 10).tolist()
    write_many(folder, alphas, (0.1, 0.2, 0.3, 0.4), 5, steps=30, logged=30)
    began = time.monotonic()
    text = page.render(read(folder))
    assert time.monotonic() - began < BUILT_IN
    assert len(text.encode()) < LIMIT
    assert len(block(text)["tables"]["runs"]["rows"]) == 200
