"""The page of a run says what its folder says, and first what stands out."""

import html
import json
import re
import shutil
import subprocess
import sys
import time

import numpy as np
import pytest

from resseg.cli.main import main
from resseg.report.run import page
from resseg.report.run.facts import gather
from resseg.report.run.findings import find
from resseg.report.run.flow import MOST_STEPS, choose_steps, read_flow
from resseg.report.run.samples import run_lengths
from resseg.runs import is_locked, layout, open_run
from resseg.runs.dropped import Dropped, write_dropped

DEAD = "backbone/stage2/block1"


@pytest.fixture(scope="module")
def planted_page(planted_run):
    return page.render(page.read(planted_run))


def data_of(text):
    block = re.search(r'id="page-data">(.*?)</script>', text)
    assert block is not None
    return json.loads(block[1])


def without_data(text):
    """The markup: no data, no scripts."""
    return re.sub(r"<script.*?</script>", "", text, flags=re.DOTALL)


def test_the_box_at_the_top_names_the_planted_fork(planted_page):
    markup = without_data(planted_page)
    box = markup[markup.index('id="findings"') : markup.index('class="facts"')]
    assert f"No gradient comes back over the shortcut of <strong>{DEAD}</strong>" in box
    assert "share is exactly 0 in all 12 logged steps (1 to 12)" in box
    assert "the other 5 blocks receive it" in box
    assert 'href="#fork=backbone%2Fstage2%2Fblock1&amp;path=shortcut"' in box
    first = data_of(planted_page)["findings"][0]
    assert (first["forks"], first["path"], first["step"]) == ([DEAD], "shortcut", 0)


def test_a_healthy_run_says_what_was_checked(page_run, tmp_path):
    text = page.render(page.read(page_run(tmp_path / "run")))
    assert "Nothing stands out" in text
    assert "Checked: 9 forks in 12 logged steps" in text


def test_data_that_was_left_out_is_said(page_run, tmp_path):
    folder = page_run(tmp_path / "run")
    write_dropped(folder, [Dropped(1, 2, "loss nan")])
    (finding,) = find(gather(open_run(folder)), None)
    assert finding.text == (
        "batches that were not finite were dropped: 1 (dropped.json)."
    )


def test_scores_that_look_too_good_are_said(page_run, tmp_path):
    folder = page_run(tmp_path / "run")
    file = folder / layout.DATASET
    stored = json.loads(file.read_text())
    file.write_text(json.dumps({**stored, "splits": {"val": 9}, "shared": 2}))
    facts = gather(open_run(folder))
    line = "2 of the 9 images of val are in the training split too: "
    assert [said.startswith(line) for said in facts.oddities] == [True]
    (finding,) = find(facts, None)
    assert finding.severity == "warning" and finding.text.startswith(line)


@pytest.mark.parametrize(
    ("bits", "said"), [(8, "8 bits"), (12, "12 bits"), (None, "bits not recorded")]
)
def test_the_bits_of_the_data_are_said(page_run, tmp_path, bits, said):
    folder = page_run(tmp_path / "run", logged=0)
    file = folder / layout.DATASET
    file.write_text(json.dumps(json.loads(file.read_text()) | {"bits": bits}))
    facts = gather(open_run(folder))
    assert facts.data.endswith(f"8 train images, 4 val images, {said}")
    assert f"{said}." in page.render(page.read(folder))


def test_the_config_that_asks_for_it_is_named(page_run, tmp_path):
    folder = page_run(
        tmp_path / "run",
        dead=(DEAD, "branch"),
        config={"model.gradient.branch_in": (1.0, 1.0, 0.0, 1.0, 1.0, 1.0)},
    )
    run = open_run(folder)
    (finding,) = find(gather(run), read_flow(run))
    assert "model.gradient.branch_in = 1, 1, 0, 1, 1, 1" in finding.text


def test_a_path_that_dies_on_the_way_is_found_with_its_step(page_run, tmp_path):
    run = open_run(page_run(tmp_path / "run", steps=40))
    flow = read_flow(run)
    assert flow is not None
    line = flow.lines[flow.fork(DEAD)]
    line.site[1, 25:] = 0
    (finding,) = find(gather(run), flow)
    assert (finding.forks, finding.path, finding.step) == ((DEAD,), "branch", 26)
    assert "from step 26 to the last, 40 (15 logged steps)" in finding.text
    line.site[1, 25:35] = 1.0  # too short a tail: a dropped path may be so by chance
    assert find(gather(run), flow) == []


def test_trouble_of_the_other_kinds_is_found(fake_run, tmp_path):
    run = open_run(fake_run(tmp_path / "run"))
    texts = [finding.text for finding in find(gather(run), read_flow(run))]
    assert "not finite in 1 logged step; first at step 2" in texts[0]
    assert any("shortcut of stage2/block1" in text for text in texts)


def test_the_page_holds_the_numbers_of_the_log(planted_run, planted_page):
    flow = data_of(planted_page)["gradients"]
    log = open_run(planted_run).gradients
    assert flow["steps"] == list(range(1, 13))
    assert len(flow["forks"]) == 9
    for fork in flow["forks"]:
        for place, path in enumerate(fork["paths"]):
            mine = log[(log["fork"] == fork["name"]) & (log["path"] == path)]
            np.testing.assert_allclose(fork["site"][place], mine["site"], rtol=1e-5)
            np.testing.assert_allclose(fork["share"][place], mine["share"], rtol=1e-5)
    dead = next(fork for fork in flow["forks"] if fork["name"] == DEAD)
    assert dead["site"][0] == [0] * 12


def test_tables_for_download_hold_the_metrics(planted_run, planted_page):
    tables = data_of(planted_page)["tables"]
    metrics = open_run(planted_run).metrics
    train, at = tables["train"], tables["train"]["columns"].index("loss")
    losses = metrics[metrics["split"] == "train"]["loss"]
    np.testing.assert_allclose([row[at] for row in train["rows"]], losses, rtol=1e-5)
    validation = tables["validation"]
    iou = validation["columns"].index("iou background")
    assert [row[iou] for row in validation["rows"]] == [0.9, 0.9, 0.9]
    assert tables["confusion"]["columns"][0] == "truth"
    assert (
        sum(map(sum, (row[1:] for row in tables["confusion"]["rows"]))) == 4 * 23 * 32
    )


def test_hostile_names_are_text(planted_page):
    assert "alert(1)</script>" not in planted_page
    markup = without_data(planted_page)
    assert "<b>ü" not in markup
    assert "&lt;/script&gt;&lt;script&gt;alert(1)&lt;/script&gt;" in markup
    data = data_of(planted_page)
    assert data["classes"][1]["name"].startswith("</script><script>alert(1)")


def test_the_headline_has_scores_and_times(planted_page):
    facts = planted_page[planted_page.index('class="facts"') :]
    words = html.unescape(re.sub(r"<[^>]+>", " ", facts[:2500]))
    for expected in ("0.120", "12 of 12", "6 s", "not recorded", "1 seed (0)"):
        assert expected in words


def test_samples_are_told_from_best_to_worst(planted_page):
    samples = data_of(planted_page)["samples"]
    assert [sample["role"] for sample in samples] == ["best", "median", "worst"]
    best = samples[0]
    assert best["image"].startswith("data:image/jpeg;base64,")
    assert sum(best["truth"][1::2]) == best["width"] * best["height"] == 24 * 32
    assert best["truth"][:2] == [255, 32]


def test_masks_are_stored_as_run_lengths():
    assert run_lengths(np.array([[1, 1], [1, 0]])) == [1, 3, 0, 1]


def test_an_unfinished_run_is_said_to_be_so(page_run, tmp_path):
    text = page.render(page.read(page_run(tmp_path / "run", logged=5)))
    state = re.search(r'id="state">(.*?)</p>', text)
    assert state is not None
    assert "is not finished: it stopped at step 5 of 12" in state[1]


def test_a_run_that_is_being_written_is_said_to_be_so(page_run, tmp_path):
    folder = page_run(tmp_path / "run", logged=5)
    program = (
        "import sys, time\nfrom resseg.runs.lock import locked\n"
        "with locked(sys.argv[1]):\n    print('held', flush=True)\n    time.sleep(60)\n"
    )
    assert not is_locked(folder)
    command = [sys.executable, "-c", program, str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        facts = gather(open_run(folder))
        holder.kill()
    assert facts.state == "being written"
    deadline = time.monotonic() + 10
    while is_locked(folder) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not is_locked(folder)


def test_a_run_without_any_log_has_a_page(tmp_path, page_run):
    folder = page_run(tmp_path / "run")
    for name in (*layout.LOGS, layout.PREDICTIONS, layout.DATASET, layout.ENVIRONMENT):
        path = folder / name
        if path.is_dir():
            shutil.rmtree(path)
        elif path.exists():
            path.unlink()
    text = page.render(page.read(folder))
    assert "No gradient rows yet" in text
    assert data_of(text)["gradients"] is None


def test_imported_weights_are_said_to_be_so(tmp_path, page_run):
    folder = page_run(tmp_path / "run", logged=0)
    (folder / layout.IMPORTED).write_text("{}")
    facts = gather(open_run(folder))
    assert (facts.state, facts.steps, facts.step) == ("imported", None, 0)
    text = page.render(page.read(folder))
    assert 'id="state"' not in text


def test_long_runs_are_thinned_but_keep_what_happened():
    kept = choose_steps(100_000, [12_345, 99_998])
    assert kept[0] == 0 and kept[-1] == 99_999
    assert {12_345, 99_998} <= set(kept.tolist())
    assert MOST_STEPS <= len(kept) <= MOST_STEPS + 2


def test_a_long_run_stays_small(page_run, tmp_path):
    folder = page_run(tmp_path / "run", steps=1500)
    text = page.render(page.read(folder))
    assert len(text.encode()) < 8e6
    flow = data_of(text)["gradients"]
    assert len(flow["steps"]) == MOST_STEPS and flow["logged"] == 1500
    assert flow["steps"][0] == 1 and flow["steps"][-1] == 1500


def test_a_sample_outside_of_the_folder_is_not_read(page_run, tmp_path):
    folder = page_run(tmp_path / "run")
    index = folder / "predictions" / "index.json"
    told = json.loads(index.read_text())
    for sample in told["samples"]:
        sample["files"]["image"] = "../../../secret.png"
    index.write_text(json.dumps(told))
    read = page.read(folder)
    assert read.predictions.samples == []


def test_coefficients_are_drawn_where_they_are_logged(page_run, tmp_path):
    folder = page_run(tmp_path / "run")
    line = {"step": 12, "split": "coefficients", "stage1/block1 W_c": 0.75}
    with open(folder / layout.METRICS, "a") as file:
        file.write(json.dumps(line) + "\n")
    text = page.render(page.read(folder))
    assert data_of(text)["tables"]["coefficients"]["rows"] == [[12, 0.75]]
    assert 'id="curve-coefficients"' in text


def test_the_config_marks_what_differs_from_the_base(planted_page):
    rows = re.findall(r'<tr class="changed">(.*?)</tr>', planted_page)
    keys = [re.search(r"<code>(.*?)</code>", row) for row in rows]
    assert [key and key[1] for key in keys] == ["data.name", "train.steps"]
    assert "<code>300</code>" in rows[1]


def test_probes_are_shown_where_they_were_made(page_run, tmp_path):
    from resseg.runs.tables import Column, write_table

    folder = page_run(tmp_path / "run")
    columns = (Column("block", "str", "", ""), Column("mean", "float64", "", ""))
    rows = {"block": ["a<b"], "mean": [0.5]}
    write_table(folder / "probes" / "signal.parquet", columns, rows)
    (folder / "probes" / "broken.parquet").write_bytes(b"no table")
    text = page.render(page.read(folder))
    assert "resseg probe --what signal" in text
    assert data_of(text)["tables"]["probe-signal"]["rows"] == [["a<b", 0.5]]
    assert "a&lt;b" in text


def test_evaluations_are_shown_with_intervals_and_diagrams(page_run, tmp_path):
    folder = page_run(tmp_path / "run")
    kept = folder / "evaluations"
    kept.mkdir()
    record = {"data": "cells", "split": "te<st", "words": "weights of step 6"}
    record |= {"images": 24, "scores": {"mean_iou": 0.75, "ece": None}}
    record |= {"intervals": {"mean_iou": [0.5, 0.875], "ece": [None, None]}}
    (kept / "cells-test-6.json").write_text(json.dumps(record))
    (kept / "cells-test-6.png").write_bytes(b"picture")
    (kept / "broken.json").write_text("{")
    text = page.render(page.read(folder))
    assert "0.750 [0.500, 0.875]" in text and "cells/te&lt;st" in text
    assert "data:image/png;base64,cGljdHVyZQ==" in text
    assert "<th" in text and "ECE" in text and "NLL" not in text


def test_the_command_writes_the_file_and_nothing_half(planted_run, tmp_path, capsys):
    out = tmp_path / "page.html"
    assert main(["report", str(planted_run), "--out", str(out)]) == 0
    assert capsys.readouterr().out == f"wrote {out}\n"
    assert out.read_text().startswith("<!doctype html>")
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{missing}"], "does not exist"),
        ([], "RUN is missing"),
        (["{run}", "--out", "{run}"], "it is a folder, expected a file"),
        (["{run}", "--out", "{missing}/x.html"], "there is no folder"),
        (["{run}", "--format", "pdf"], "--format='pdf': choose from html, md"),
        (["--compare", "{run}"], "expected two runs or more"),
        (["--compare", "{run}", "{run}", "--format", "md"], "in html only"),
    ],
)
def test_wrong_input_is_one_line(planted_run, tmp_path, capsys, arguments, message):
    names = {"run": planted_run, "missing": tmp_path / "missing"}
    given = [argument.format(**names) for argument in arguments]
    assert main(["report", *given]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
