"""`resseg inspect` on several runs, on parts of a log, and for programs."""

import csv
import io
import json

import cv2
import numpy as np
import pytest
from test_inspect import inspect

from resseg.config import base
from resseg.config.key import FIXED, SAME, SHAPES, Key
from resseg.config.rows import KEYS
from resseg.config.values import SHARE, real
from resseg.errors import UserError
from resseg.gradient_log import comparison
from resseg.gradient_log.selection import Wanted, select
from resseg.gradient_log.summary import USED
from resseg.runs import open_run
from resseg.runs.gradients_table import COLUMNS


def config(**keys):
    made = base.get_config()
    with made.ignore_type():
        for key, value in keys.items():
            section, _, leaf = key.rpartition("__")
            part = made
            for name in section.split("__"):
                part = part[name] if name else part
            part[leaf] = value
    return made.to_dict()


@pytest.fixture(scope="module")
def pair(fake_run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("pair")
    one = fake_run(folder / "one", config=config())
    two = fake_run(folder / "two", config=config(model__gradient__shortcut=0.5))
    return one, two


def test_runs_stand_side_by_side_with_what_differs(pair, capsys):
    assert inspect(*pair) == 0
    text = capsys.readouterr().out
    assert "0 = one: gradient.shortcut=1.0" in text
    assert "differs: model.gradient.shortcut = 1.0 | 0.5" in text
    row = next(r for r in text.splitlines() if r.startswith("stage1/block1"))
    assert row.split()[1:] == [
        *("shortcut", "0.866", "0.866", "+0.00", "75%", "75%"),
    ]
    # The dead shortcut of stage 2 has no ratio.
    row = next(r for r in text.splitlines() if r.startswith("stage2/block1"))
    assert row.split()[1:] == ["shortcut", "0", "0", "-", "0%", "0%"]
    assert cv2.imread(str(pair[0] / "gradients-compare.png")).std() > 10


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"data__crop": (64, 64)}, r"data.crop is \(128, 128\) and \(64, 64\)"),
        ({"optim__clip_norm": 1.0}, "optim.clip_norm is None and 1.0"),
        ({"loss__terms__dice": 1.0}, "loss.terms.dice is 0.0 and 1.0"),
        ({"data__batch_size": 4}, "data.batch_size is 16 and 4"),
    ],
)
def test_norms_that_mean_something_else_are_not_compared(
    fake_run, tmp_path, pair, changed, named
):
    other = fake_run(tmp_path / "other", config=config(**changed))
    with pytest.raises(UserError, match=named) as caught:
        inspect(pair[0], other)
    assert "--normalized" in str(caught.value)
    assert inspect(pair[0], other, "--normalized") == 0


def test_another_denominator_is_not_compared(fake_run, tmp_path, pair):
    other = fake_run(tmp_path / "other", config=config(), loss_pixels=3)
    with pytest.raises(UserError, match="the mean loss_pixels is 2 and 3"):
        inspect(pair[0], other)


def test_normalised_profiles_do_not_know_the_denominator(fake_run, tmp_path, pair):
    other = fake_run(tmp_path / "other", config=config(), loss_pixels=64)
    wanted = Wanted()
    selected = [select(path, wanted, [*USED]) for path in (pair[0], other)]
    compared = comparison.side_by_side(selected, normalized=True)
    sites = np.array([path.sites for path in compared])
    assert np.isfinite(sites).all() and len(sites) > 8
    np.testing.assert_allclose(sites[:, 1], sites[:, 0], rtol=1e-12)
    last = [path.sites[0] for path in compared if path.fork == "stage3/block1"]
    # Paths of 12 and 4 of a sum of 16: sqrt(3) / 2 and a half of the whole.
    np.testing.assert_allclose(last, [np.sqrt(3) / 2, 0.5], rtol=1e-12)


def test_json_says_what_the_tables_say(pair, capsys):
    inspect(pair[0], "--json", "-")
    (run,) = json.loads(capsys.readouterr().out)
    assert run["run"] == str(pair[0])
    assert run["steps"] == {"first": 1, "last": 6, "logged": 6}
    first = run["forks"][0]
    assert first["fork"] == "stage1/block1" and first["site"] == pytest.approx(1)
    assert first["paths"][0]["share"] == pytest.approx(0.75)
    assert run["shortcut_share_by_stage"] == {
        "stage1": pytest.approx(0.75),
        "stage2": 0,
        "stage3": pytest.approx(0.75),
    }
    # Site norms 1, 3, 4: the least-squares line of their logs.
    slope = (np.log10(4) - np.log10(1)) / 2
    assert run["log10_site_slope_per_block"] == pytest.approx(slope)
    (event,) = run["events"]
    assert event["what"] == "is not finite" and event["step"] == 2
    assert event["ratio"] is None


def test_csv_holds_every_column_of_the_chosen_rows(pair, capsys):
    inspect(
        *pair, "--csv", "-", "--steps", "2:3", "--fork", "block", "--path", "branch"
    )
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert list(rows[0]) == ["run", *(column.name for column in COLUMNS)]
    assert {row["step"] for row in rows} == {"2", "3"}
    assert {row["path"] for row in rows} == {"branch"}
    assert len(rows) == 2 * 2 * 3  # runs, steps, blocks
    assert rows[0]["l2"] == "" and rows[0]["nonfinite"] == "3"


def test_single_steps_have_their_profiles_drawn(pair, tmp_path, capsys):
    out = tmp_path / "steps.png"
    inspect(pair[0], "--steps", "1,4", "--out", out)
    text = capsys.readouterr().out
    assert "means over 2 logged steps (1 to 4)" in text
    assert (tmp_path / "steps-profile.png").exists()
    assert (tmp_path / "steps-share.png").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--fork", "stag9"], r"--fork 'stag9': none of the 6 forks, such as stage1"),
        (["--steps", "1-4"], r"--steps '1-4': expected FIRST:LAST, or steps such as"),
        (["--steps", "9:"], "has no logged step there, expected some of 1 to 6"),
        (["--steps", "2,99"], "step 99 of .* was not logged; .* the nearest is 6"),
        (["--csv", "no/x.csv"], "--csv no/x.csv: there is no folder no"),
        (["--csv", "-", "--json", "-"], "one of them on standard output"),
    ],
)
def test_wrong_parts_are_refused(pair, arguments, message):
    with pytest.raises(UserError, match=message):
        inspect(pair[0], *arguments)


def test_a_reader_gets_the_selected_steps_only(pair):
    chosen = select(pair[0], Wanted(steps=":2", fork="skip"), None)
    assert set(chosen.rows["fork"]) == {"head/skip1"}
    assert sorted(set(chosen.recent["step"])) == [1, 2]
    assert chosen.run.path == open_run(pair[0]).path


def test_a_run_written_before_a_key_had_its_default(fake_run, tmp_path, monkeypatch):
    toy = Key("train.toy", real(0.5, SHARE), "a toy", (SHAPES, FIXED, SAME), later=True)
    monkeypatch.setitem(KEYS, "train.toy", toy)
    old = fake_run(tmp_path / "old", config={"seed": 0})
    same = fake_run(tmp_path / "same", config={"seed": 0, "train": {"toy": 0.5}})
    other = fake_run(tmp_path / "other", config={"seed": 0, "train": {"toy": 0.25}})
    opened = [select(path, Wanted(), None) for path in (old, same, other)]
    assert comparison.changed_keys(opened[:2]) == {}
    assert comparison.changed_keys(opened) == {"train.toy": [0.5, 0.5, 0.25]}
