"""The table as text, and the command that prints it."""

import csv
import io
import math

import pytest
from fake_sweeps import KIND, attempt, finish, write_sweep
from rich.console import Console

from resseg.cli.main import main
from resseg.sweeps import ordering
from resseg.sweeps.scores import METRICS
from resseg.sweeps.table import cells, words
from resseg.sweeps.table.formats import (
    as_csv,
    as_latex,
    as_markdown,
    as_terminal,
    latex,
    markdown,
    print_terminal,
)
from resseg.sweeps.table.table import load_table

CLAIM = ordering("identity beats plain", [{KIND: "identity"}, {KIND: "none"}])
# Means .3 and .5; differences .1, .1, .4: see test_table.py.
SCORES = {"i0": 0.2, "i1": 0.3, "i2": 0.4, "n0": 0.3, "n1": 0.4, "n2": 0.8}


@pytest.fixture
def plan(tmp_path):
    wanted = [
        (f"{kind[0]}{seed}", {KIND: kind, "seed": seed})
        for kind in ("identity", "none")
        for seed in range(3)
    ]
    wanted.append(("d0", {KIND: "dropout", "seed": 0}))
    plan = write_sweep(tmp_path / "sweep", wanted, claims=[CLAIM])
    for run in plan.runs[:-1]:
        finish(run, plan, SCORES[run.id])
    counts = {"programs": 3, "train_steps": 1, "cached": 0, "seconds": 65.0}
    attempt(plan.runs[0], "finished", compilations=counts, peak_memory=3 * 2**20)
    attempt(plan.runs[-1], "failed")
    return plan


def test_parts_of_a_claim_are_a_list_in_the_list(tmp_path):
    claim = ordering("c", [{KIND: "identity"}, {KIND: "none"}], each=["seed"])
    wanted = [("i", {KIND: "identity", "seed": 1}), ("n", {KIND: "none", "seed": 1})]
    table = load_table(write_sweep(tmp_path / "s", wanted, claims=[claim]))
    assert (
        "\n- Claim undecided: c (mean\\_iou, best first)\n  - undecided for seed=1: "
        in (as_markdown(table))
    )


def test_an_ordering_is_written_with_its_signs():
    chain = words._chain(["a", "b", "c", "d"], [2.0, 2.0, 1.0, math.nan])
    assert chain == "a = b > c ? d"
    assert words._chain(["a", "b"], [1.0, 2.0]) == "a < b"


def test_rows_are_sorted_by_how_many_runs_are_not_finished(plan):
    table = load_table(plan)
    (column,) = [c for c in cells.columns(table) if c.header == "not finished"]
    found = {row.values[KIND]: column.value(row) for row in table.rows}
    assert found == {"none": 0, "identity": 0, "dropout": 1}


CELLS = {
    "shortcut.kind": ["none", "identity", "dropout"],
    "mean_iou": ["0.5000 ± 0.6572", "0.3000 ± 0.2484", "-"],
    "n": ["3", "3", "0"],
    "minus baseline": ["+0.2000 [-0.2303, +0.6303]", "baseline", "no pair"],
    "pairs": ["3", "-", "-"],
    "runs": ["3/3", "3/3", "0/1"],
    "not finished": ["", "", "1 failed"],
    "params": ["1,000", "1,000", "-"],
    "MACs": ["2.500 M", "2.500 M", "-"],
    "memory": ["-", "3 MiB", "-"],
    "images/s": ["100.0", "100.0", "-"],
    "compile": ["-", "1:05", "-"],
    "time": ["-", "1:00", "1:00"],
}
BELOW = [
    "6 of 7 runs finished; 3 programs compiled in 65.0 s, 1 of them train steps; 2:00 "
    "in all.",
    "Not finished: d0 (model.shortcut.kind=dropout seed=0) failed at step 0 of 10: "
    "ValueError: it broke",
    "Differences are to runs of equal seed with model.shortcut.kind=identity, the "
    "first variant of the study, which names no BASELINE.",
    "Claim undecided: identity beats plain (mean_iou, best first): "
    "model.shortcut.kind=identity 0.3000 < model.shortcut.kind=none 0.5000: difference "
    "-0.2000 [-0.6303, +0.2303] over seeds 0, 1, 2",
]


def test_markdown(plan):
    lines = as_markdown(load_table(plan)).splitlines()
    cells = [line[2:-2].split(" | ") for line in lines if line.startswith("|")]
    headers, rules, *rows = cells
    assert [name.replace("\\", "") for name in headers] == list(CELLS)
    assert rules[0] == "---" and set(rules[1:]) == {"---:"}
    assert [list(column) for column in zip(*rows, strict=True)] == list(CELLS.values())
    said = [line[2:] for line in lines if line.startswith("- ")]
    assert [line.replace("\\", "") for line in said] == BELOW
    assert r"shortcut.kind=none 0.5000 \(" not in said[-1]
    assert lines[0].startswith(r"fake: mean\_iou = mean over classes")


def test_plain_text_has_every_column_and_every_sentence(plan):
    text = as_terminal(load_table(plan))
    title, header, *rest = text.splitlines()
    assert "higher is better; mean ± 95 % interval over n seeds;" in title
    assert header.split("  ")[0] == "shortcut.kind"
    for row in range(3):
        for name, column in CELLS.items():
            assert name in header and column[row] in rest[row]
    assert rest[3:] == BELOW


def test_a_narrow_terminal_shows_fewer_costs_but_never_fewer_results(plan):
    file = io.StringIO()
    console = Console(file=file, width=110, force_terminal=True, color_system=None)
    print_terminal(load_table(plan), console)
    text = file.getvalue()
    header = next(line for line in text.splitlines() if "shortcut.kind" in line)
    for name in ("mean_iou", "minus baseline", "pairs", "runs", "not finished"):
        assert name in header
    assert "memory" not in header and "compile" not in header
    assert "1 failed" in text


def test_where_nothing_fits_all_keys_share_a_column(plan):
    file = io.StringIO()
    console = Console(file=file, width=75, force_terminal=True, color_system=None)
    print_terminal(load_table(plan), console)
    header, _, first, *_ = file.getvalue().splitlines()[1:]
    names = ["variant", "mean_iou", "minus", "baseline", "runs", "not", "finished"]
    assert header.split() == names
    assert "0.5000 ± 0.6572 +0.2000 [-0.2303, +0.6303]" in " ".join(first.split())


def test_csv_has_full_numbers_and_keys(plan):
    rows = list(csv.DictReader(io.StringIO(as_csv(load_table(plan)))))
    plain, identity, dropout = rows
    assert plain[KIND] == "none"
    assert float(plain["mean"]) == pytest.approx(0.5)
    # t(2) = 4.302653 times the standard error sqrt(.07 / 3)
    half = 4.3026527 * math.sqrt(0.07 / 3)
    assert float(plain["mean_high"]) == pytest.approx(0.5 + half)
    assert float(plain["difference"]) == pytest.approx(0.2)
    assert (plain["mean_count"], plain["difference_count"]) == ("3", "3")
    # differences .1, .1, .4: standard error sqrt(.03 / 3) = .1
    assert float(plain["difference_low"]) == pytest.approx(0.2 - 0.43026527)
    assert plain["difference_bootstrap_low"] == identity["difference_low"] == ""
    assert (identity["is_baseline"], identity["difference"]) == ("true", "")
    assert (dropout["mean"], dropout["failed"], dropout["planned"]) == ("", "1", "1")
    assert identity["peak_memory_bytes"] == str(3 * 2**20)
    assert identity["compile_seconds"] == "65.0" and plain["compile_seconds"] == ""
    assert plain["image"] == "8x8x3"


def test_every_run_has_a_line_with_all_its_metrics(plan, tmp_path, capsys):
    out = tmp_path / "results.csv"
    arguments = ["table", str(plan.folder), "--csv", str(out)]
    assert main(arguments) == 0
    printed = capsys.readouterr()
    assert printed.out == as_terminal(load_table(plan))
    assert printed.err == f"wrote {out}\n"
    rows = list(csv.DictReader(io.StringIO(out.read_text())))
    assert list(rows[0]) == ["id", "state", KIND, "seed", *METRICS]
    assert [row["id"] for row in rows] == [run.id for run in plan.runs]
    by_id = {row["id"]: row for row in rows}
    assert {name: float(by_id[name]["mean_iou"]) for name in SCORES} == SCORES
    assert by_id["n2"][KIND] == "none" and by_id["n2"]["seed"] == "2"
    assert by_id["n2"]["train_loss"] == "1.0"
    assert by_id["n2"]["shortcut_share"] == "nan"  # finished, and not logged
    assert (by_id["d0"]["state"], by_id["d0"]["mean_iou"]) == ("failed", "")
    assert main([*arguments, "--format", "latex"]) == 0
    assert capsys.readouterr().out == as_latex(load_table(plan))


def test_a_score_that_is_no_number_stands_in_the_csv(tmp_path):
    plan = write_sweep(tmp_path / "s", [("r", {"seed": 0})])
    finish(plan.runs[0], plan, math.nan)
    (row,) = csv.DictReader(io.StringIO(as_csv(load_table(plan))))
    assert (row["mean"], row["mean_no_interval"]) == ("nan", "not finite")
    assert "| nan (not finite) |" in as_markdown(load_table(plan))


def test_latex(plan):
    lines = as_latex(load_table(plan, by=["kind"])).splitlines()
    comments = [line[2:] for line in lines if line.startswith("% ")]
    assert comments[1:] == BELOW
    start = lines.index(r"\begin{tabular}{lrrrrrrrrrrrr}")
    assert lines[start + 1] == r"\toprule" and lines[-2] == r"\bottomrule"
    assert r"mean\_iou & n & minus baseline" in lines[start + 2]
    assert lines.count(r"\midrule") == 3  # one above every group
    row = next(line for line in lines if line.startswith("none &"))
    assert row.startswith(
        r"none & $0.5000$ $\pm$ $0.6572$ & $3$ & $+0.2000$ $[-0.2303, +0.6303]$ & $3$ "
        r"& $3$/$3$ &  & $1{,}000$ & $2.500$ M"
    )
    assert all(line.endswith(r"\\") for line in lines[start:] if " & " in line)


HOSTILE = "a|b&c_d%e<f>g#h$i\\j{k}~^`*[x](y)\x1b[31m\n½ é"


def test_hostile_text_is_shown_as_it_is():
    escaped = (
        r"a\|b&amp;c\_d%e\<f\>g\#h\$i\\j{k}\~^\`\*\[x\](y) \[31m ½ é"  # of Markdown
    )
    assert markdown(HOSTILE) == escaped
    assert latex(HOSTILE) == (
        r"a\textbar{}b\&c\_d\%e\textless{}f\textgreater{}g\#h\$i\textbackslash{}j\{k\}"
        r"\textasciitilde{}\textasciicircum{}`*[x](y) [31m ½ é"
    )


def test_hostile_values_and_messages_keep_the_table_whole(tmp_path):
    values = ["a|b & c_d", "100%<b>", "x\n\x1b[2Jy[/]"]
    wanted = [
        (f"r{number}", {"data.name": value}) for number, value in enumerate(values)
    ]
    plan = write_sweep(tmp_path / "s", wanted, study="st|udy [red]")
    for run in plan.runs[:2]:
        finish(run, plan, 0.5)
    attempt(plan.runs[2], "failed")
    table = load_table(plan)
    rows = [x for x in as_markdown(table).splitlines() if x.startswith("|")]
    count = rows[0].count("|")
    assert [row.replace(r"\|", "").count("|") for row in rows] == [count] * 5
    assert any(row.startswith(r"| a\|b &amp; c\_d |") for row in rows)
    text = as_terminal(table)
    assert text.startswith("st|udy [red]: mean_iou")
    assert "\x1b" not in text and "x [2Jy[/]" in text
    body = as_latex(table).split(r"\toprule")[1]
    assert r"a\textbar{}b \& c\_d & " in body and r"100\%\textless{}b" in body
    parsed = list(csv.DictReader(io.StringIO(as_csv(table))))
    assert sorted(row["data.name"] for row in parsed) == sorted(values)


def test_the_command_prints_writes_and_checks(plan, tmp_path, capsys):
    folder = str(plan.folder)
    assert main(["table", folder]) == 0
    assert capsys.readouterr().out == as_terminal(load_table(plan))
    assert main(["table", folder, "--check"]) == 1
    capsys.readouterr()
    assert main(["table", folder, "--format", "csv"]) == 0
    printed = capsys.readouterr()
    assert printed.out == as_csv(load_table(plan))
    assert printed.err.splitlines() == BELOW
    for name, write in {
        "a.md": as_markdown,
        "a.tex": as_latex,
        "a.csv": as_csv,
    }.items():
        out = tmp_path / name
        assert main(["table", folder, "--out", str(out)]) == 0
        assert out.read_text() == write(load_table(plan))
        assert capsys.readouterr().out.splitlines() == [*BELOW, f"wrote {out}"]
    arguments = ["--baseline", "kind=none", "--only", "i*", "--format", "markdown"]
    assert main(["table", folder, *arguments, "--by", "kind"]) == 0
    assert "-0.2000 [-0.6303, +0.2303]" in capsys.readouterr().out


def test_check_passes_where_all_claims_hold_on_every_seed(tmp_path, capsys):
    claim = ordering("plain beats identity", [{KIND: "none"}, {KIND: "identity"}])
    wanted = [
        (f"{kind[0]}{seed}", {KIND: kind, "seed": seed})
        for kind in ("identity", "none")
        for seed in range(3)
    ]
    plan = write_sweep(tmp_path / "s", wanted, claims=[claim])
    scores = {"i0": 0.1, "i1": 0.2, "i2": 0.3, "n0": 0.5, "n1": 0.61, "n2": 0.72}

    def check():
        status = main(["table", str(plan.folder), "--check"])
        return status, capsys.readouterr().out

    for run in plan.runs:
        if run.id[1] == "0":
            finish(run, plan, scores[run.id])
    status, text = check()
    assert status == 1 and "Claim undecided: " in text
    assert ": difference +0.4000 (1 only) over seed 0; missing: seeds 1, 2" in text
    for run in plan.runs:
        if run.id[1] == "1":
            finish(run, plan, scores[run.id])
    status, text = check()
    assert status == 1 and "Claim holds: " in text
    assert text.rstrip().endswith("over seeds 0, 1; missing: seed 2")
    for run in plan.runs:
        if run.id[1] == "2":
            finish(run, plan, scores[run.id])
    status, text = check()
    assert status == 0 and text.rstrip().endswith("over seeds 0, 1, 2")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--metric", "mean_dicee"], "--metric='mean_dicee': choose from"),
        (["--by", "head.name"], "--by 'head.name': no run sets it; choose from model"),
        (["--format", "html"], "--format='html': choose from terminal, markdown, csv"),
        (["--out", "missing/a.md"], "--out missing/a.md: there is no folder missing"),
        (["--csv", "missing/a"], "--csv missing/a: there is no folder missing"),
        (["--csv", "."], "--csv .: it is a folder, expected a file"),
        (["--out", "."], "--out .: it is a folder, expected a file"),
        (["--baseline", "kind"], "--baseline 'kind': expected KEY=VALUE, not 'kind'"),
        (
            ["--baseline", "kind=gate"],
            "--baseline: no run of the sweep has model.short",
        ),
        (["--baseline", "seed=x"], "config.seed=x: expected int"),
        (["--only", "zzz"], "--only 'zzz': matches none of 7 runs"),
    ],
)
def test_wrong_input_is_one_line_and_status_2(plan, arguments, message, capsys):
    assert main(["table", str(plan.folder), *arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"resseg: error: {message}") and error.count("\n") == 1


def test_no_sweep_folder(tmp_path, capsys):
    assert main(["table", str(tmp_path)]) == 2
    assert f"{tmp_path} is not a sweep folder: it holds no sweep.json" in (
        capsys.readouterr().err
    )
