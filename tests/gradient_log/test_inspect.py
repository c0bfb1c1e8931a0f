import argparse

import cv2
import pytest

from resseg.cli import inspect as command
from resseg.config import base
from resseg.errors import UserError
from resseg.gradient_log.summary import (
    first_to_last,
    first_trouble,
    last_steps,
    summarise,
)
from resseg.runs import open_run, prepare, write_config
from resseg.runs.gradients_table import COLUMNS


def inspect(*arguments):
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return command.run(parser.parse_args([str(argument) for argument in arguments]))


@pytest.fixture(scope="module")
def run(fake_run, tmp_path_factory):
    return fake_run(tmp_path_factory.mktemp("inspect") / "run")


@pytest.fixture(scope="module")
def gradients(run):
    return open_run(run).gradients


def line_with(text, start):
    return next(line.split() for line in text.splitlines() if line.startswith(start))


def test_the_tables_show_the_log_in_depth_order(run, capsys):
    assert inspect(run, "--last", 3) == 0
    text = capsys.readouterr().out
    assert "\x1b" not in text  # no colours into a pipe
    titles = ["Residual blocks", "Long skips", "Pyramid", "Auxiliary heads"]
    assert [text.index(title) for title in titles] == sorted(map(text.index, titles))
    blocks = [line for line in text.splitlines() if "/block1  " in line]
    assert [line.split()[0] for line in blocks] == [
        *("stage1/block1", "stage2/block1", "stage3/block1")
    ]
    assert line_with(text, "stage1/block1") == [
        *("stage1/block1", "0.866", "0.5", "▅x▅▅▅▅", "75%", "▇?▇▇▇▇", "+0.00", "0")
    ]
    assert line_with(text, "stage2/block1")[1:] == [
        *("dead", "3", "▅" * 6, "0%", "▁" * 6, "-", "0")
    ]
    assert "stage2/block1: shortcut dead" in text
    assert line_with(text, "head/skip1")[-2:] == ["+1.00", "0"]
    assert line_with(text, "head/pyramid")[1:3] == ["1x1", "1.41"]
    assert line_with(text, "stage1 ") == ["stage1", "75%", "▇?▇▇▇▇", "75%"]
    assert line_with(text[text.index("Parameters") :], "stage1 ") == [
        *("stage1", "2", "1", "0.01", "0.005")
    ]
    assert "the site norm changes x2 per block (least squares, log10 +0.301)" in text
    assert "stage1/block1, receives 0.25x the gradient of the last, stage3" in text
    assert "first at step 2, deepest in head/skip1 (skip)" in text
    names = ("gradients.png", "gradients-share.png", "gradients-profile.png")
    assert text.splitlines()[-3:] == [f"wrote {run / name}" for name in names]
    for name in names:
        assert cv2.imread(str(run / name)).std() > 10


def test_what_is_not_finite_is_counted_and_named(run, capsys):
    inspect(run)
    text = capsys.readouterr().out
    assert line_with(text, "stage1/block1")[-1] == "6"
    assert "stage1/block1: shortcut not finite in 1 of 6 steps" in text
    assert "head/skip1: skip not finite in 1 of 6 steps" in text


def test_one_path_alone(run, tmp_path, capsys):
    picture = tmp_path / "skip.png"
    inspect(run, "--path", "skip", "--out", picture)
    text = capsys.readouterr().out
    assert "Long skips" in text and "Residual blocks" not in text
    assert "deeper" not in text and picture.exists()


def test_the_picture_of_one_path_does_not_replace_the_whole(fake_run, tmp_path):
    run = fake_run(tmp_path / "run")
    inspect(run)
    whole = (run / "gradients.png").read_bytes()
    inspect(run, "--path", "skip")
    assert (run / "gradients.png").read_bytes() == whole
    assert (run / "gradients-skip.png").read_bytes() != whole


def test_every_column_is_explained_without_a_run(capsys):
    assert inspect("--columns") == 0
    text = capsys.readouterr().out
    for column in COLUMNS:
        assert column.meaning in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "RUN is missing"),
        (["--last", 0], "--last=0: expected"),
        (["--path", "shortcat"], r"--path='shortcat': .* \(did you mean 'shortcut'"),
        (["--out", "x.gif"], r"'.gif': choose from .png"),
        (["--out", "no/where.png"], "there is no folder no"),
    ],
)
def test_wrong_arguments(run, arguments, message):
    with pytest.raises(UserError, match=message):
        inspect(*([run] if arguments else []), *arguments)


def test_a_run_without_gradient_rows_says_which_key_to_set(tmp_path):
    config = base.get_config()
    config.log.gradients.every = 0
    write_config(prepare(tmp_path), config)
    with pytest.raises(UserError, match=r"train with log\.gradients\.every > 0"):
        inspect(tmp_path)


def test_a_run_that_has_just_begun_has_no_rows_yet(tmp_path):
    write_config(prepare(tmp_path), base.get_config())
    with pytest.raises(UserError, match="holds no gradient rows yet") as caught:
        inspect(tmp_path)
    assert "gradients.every" not in str(caught.value)


def test_the_mean_is_geometric_over_the_last_steps(gradients):
    rows = gradients[gradients["fork"] == "stage3/block1"].copy()
    rows["site"] = [1.0, 1.0] * 4 + [4.0, 1.0] + [9.0, 1.0]
    recent = last_steps(rows, 2)
    assert sorted(set(recent["step"])) == [5, 6]
    assert [path.site for path in summarise(recent)[0].paths] == pytest.approx([6, 1])


def test_no_ratio_is_made_up_where_the_last_block_has_no_gradient(gradients):
    none = gradients.assign(total_l2=0.0)
    assert "no finite gradient to compare" in first_to_last(summarise(none))
    assert first_to_last(summarise(gradients[gradients["depth"] == 0])) is None
    assert first_trouble(gradients[gradients["step"] > 2]) is None
