"""`resseg data` as it is typed."""

import argparse
import json
import shlex
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from resseg.cli import data as command
from resseg.config.load import load_config
from resseg.data import palette, sources
from resseg.errors import UserError

CLASSES = "background,cell"


def _run(*words):
    parser = argparse.ArgumentParser(prog="resseg data")
    command.add_arguments(parser)
    return command.run(parser.parse_args([str(word) for word in words]))


@pytest.fixture
def files(tmp_path):
    """Ten pairs in two flat folders."""
    mask = np.zeros((20, 24), np.uint8)
    mask[4:12, 6:18] = 1
    for kind in ("images", "masks"):
        (tmp_path / kind).mkdir()
    for seed in range(10):
        picture = np.random.default_rng(seed).integers(0, 256, (20, 24, 3), np.uint8)
        Image.fromarray(picture).save(tmp_path / "images" / f"{seed}.png")
        Image.fromarray(mask).save(tmp_path / "masks" / f"{seed}.png")
    return tmp_path


def _flat(files):
    pair = ("--images", files / "images", "--masks", files / "masks")
    return (*pair, "--classes", CLASSES)


def test_prepare_then_check_then_list(files, capsys):
    data = files / "data"
    assert _run("prepare", "cells", *_flat(files), "--dir", data) == 0
    out = capsys.readouterr().out
    assert "cells: 10 pairs, 2 classes" in out
    assert (
        "resseg train --config quickstart --workdir runs/cells "
        f"--config.data.name=cells --config.data.dir={data}\n" in out
    )
    rows = [line.split() for line in out.splitlines()]
    assert ["images", "8", "2"] in rows
    assert ["1", "cell", "20.00%", "in", "8", "20.00%", "in", "2"] in rows

    assert _run("check", "cells", "--dir", data) == 0
    assert "nothing wrong" in capsys.readouterr().out

    assert _run("list", "--dir", data) == 0
    out = capsys.readouterr().out
    assert "train 8, val 2" in out and "oxford_iiit_pet" in out

    with pytest.raises(UserError, match="exists; add --overwrite"):
        _run("prepare", "cells", *_flat(files), "--dir", data)


def test_what_is_printed_can_be_typed(files, capsys):
    data = files / "my data"
    assert _run("prepare", "cells", *_flat(files), "--dir", data) == 0
    *_, show, train = map(shlex.split, capsys.readouterr().out.splitlines())
    assert show == ["resseg", "data", "show", "cells", "--dir", str(data)]
    assert train[:4] == ["resseg", "train", "--config", "quickstart"]
    assert f"--config.data.dir={data}" in train
    assert _run(*show[2:]) == 0
    config = load_config("quickstart", {"data.name": "gone", "data.dir": str(data)})
    with pytest.raises(UserError, match=r"prepare gone --dir '.*/my data' --images"):
        sources.dataset_spec(config.data)


def test_split_names_reach_the_line_that_trains(files, capsys):
    table = files / "split.csv"
    table.write_text("split,name\n" + "".join(f"fit,{n}\n" for n in range(10)))
    options = (*_flat(files), "--split-file", table, "--dir", files / "data")
    assert _run("prepare", "cells", *options) == 0
    out = capsys.readouterr().out
    assert "--config.data.split=fit --config.data.eval_split=fit" in out


def test_check_of_files_returns_two_for_an_error(files, capsys):
    Image.fromarray(np.full((20, 24), 9, np.uint8)).save(files / "masks/3.png")
    assert _run("check", *_flat(files)) == 2
    out = capsys.readouterr().out
    path = files / "masks/3.png"
    message = f"{path}: holds 9 (480 px); classes are 0 to 1, 255 is void"
    assert f"error {message}" in out.splitlines()
    with pytest.raises(UserError, match=r"3\.png: holds 9"):
        _run("prepare", "cells", *_flat(files), "--dir", files / "data")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["check"], "give NAME, or --folder"),
        (["check", "--images", "x"], "--masks DIR is missing"),
        (["prepare", "cells", "--folder", "x"], "--classes is missing"),
        (["prepare", "cells", "--folder", "x", "--classes", CLASSES], "x: no such"),
        (["prepare", "Cells", "--folder", "x"], "NAME='Cells'"),
        (["prepare", "cells", "--classes", CLASSES], "--images DIR is missing"),
    ],
)
def test_what_is_missing_is_named(words, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=message) as caught:
        _run(*words)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--void", "70000"], "--void 70000: expected 0 to 65535"),
        (["--first", "-1"], "--first -1: expected"),
        (["--binary", "--void", "255"], "--binary makes 255 a class"),
        (["--val-fraction", "1.5"], "--val-fraction 1.5"),
        (["--val-fraction", "nan"], "--val-fraction nan"),
        (["--seed", "-1"], "--seed -1: expected 0 or more"),
        (["--val-fraction", "0.5", "--split-file", "x"], "give one of the two"),
        (["--split-file", "x.csv"], "--split-file x.csv: no such file"),
        (["--folder", "x"], "drop --images and --masks"),
    ],
)
def test_options_that_cannot_be(files, options, message):
    with pytest.raises(UserError, match=message):
        _run("prepare", "cells", *_flat(files), *options, "--dir", files / "data")
    assert not (files / "data").exists()


def test_catalogue_name_without_tensorflow_says_what_to_do(tmp_path):
    message = "^NAME='oxford_iiit_pet': .* with TensorFlow installed"
    with pytest.raises(UserError, match=message):
        _run("prepare", "oxford_iiit_pet", "--dir", tmp_path)


def test_show_draws_every_crop_of_the_batches(files):
    data = files / "data"
    _run("prepare", "cells", *_flat(files), "--dir", data)
    config = files / "small.py"
    config.write_text(
        "from resseg.config import base\n\n\ndef get_config():\n"
        "    config = base.get_config()\n    config.data.batch_size = 4\n"
        "    config.data.crop = (32, 32)\n    return config\n"
    )
    out = files / "cells.png"
    words = ("show", "cells", "--dir", data, "--config", config, "--out", out)
    assert _run(*words) == 0
    one = np.array(Image.open(out))
    for color in palette(2):  # the legend names both classes
        assert (one == color).all(axis=-1).any()
    assert _run(*words) == 0
    assert (np.array(Image.open(out)) == one).all()
    assert _run(*words, "--batches", 3) == 0
    three = np.array(Image.open(out))
    assert three.shape[0] > one.shape[0] and three.shape[1] >= one.shape[1]
    with pytest.raises(UserError, match="--batches 0: expected 1 to 1000"):
        _run(*words, "--batches", 0)
    assert _run(*words[:-2]) == 0
    assert (np.array(Image.open(data / "cells" / "sheet.png")) == one).all()
    with pytest.raises(UserError, match=r"--out .*: there is no folder .*nowhere"):
        _run(*words[:-1], files / "nowhere" / "x.png")
    assert not (files / "nowhere").exists()


def test_a_failed_preparation_prints_the_whole_check(files, capsys):
    for number in (2, 3):
        Image.fromarray(np.full((20, 24), 9, np.uint8)).save(
            files / f"masks/{number}.png"
        )
    options = (*_flat(files), "--void", 7, "--first", 1, "--dir", files / "data")
    with pytest.raises(UserError, match="1 more error: resseg data check") as caught:
        _run("prepare", "cells", *options)
    line = str(caught.value).partition(": resseg data ")[2].removesuffix(")")
    assert _run(*line.split()) == 2
    assert capsys.readouterr().out.count("holds 9") == 2


def test_the_bits_of_each_set_are_listed(files, capsys):
    data = files / "data"
    _run("prepare", "cells", *_flat(files), "--dir", data)
    (written,) = data.glob("cells/*/resseg.json")
    content = json.loads(written.read_text())
    for name, bits in (("deep", 12), ("old", None)):
        shutil.copytree(data / "cells", data / name)
        other = data / name / written.relative_to(data / "cells")
        other.write_text(json.dumps(content | {"name": name, "bits": bits}))
    capsys.readouterr()
    assert _run("list", "--dir", data) == 0
    rows = [line.split()[:6] for line in capsys.readouterr().out.splitlines()]
    assert "bits" in rows[0]
    for name, bits in (("cells", "8"), ("deep", "12"), ("old", "?")):
        assert [name, "train", "8,", "val", "2", bits] in rows


def test_a_damaged_set_is_listed_as_damaged(files, capsys):
    data = files / "data"
    for name in ("cells", "whole"):
        _run("prepare", name, *_flat(files), "--dir", data)
    (data / "cells/1.0.0/dataset_info.json").unlink()
    capsys.readouterr()
    assert _run("list", "--dir", data) == 0
    out = capsys.readouterr().out
    rows = [line.split()[:2] for line in out.splitlines()]
    assert ["cells", "damaged"] in rows and ["whole", "train"] in rows
    assert f"{data}/cells/1.0.0/dataset_info.json: damaged (missing)" in out


@pytest.mark.parametrize(
    "words",
    [
        ("list",),
        ("check", "cells"),
        ("show", "cells"),
        ("show", "camvid"),
        ("prepare", "cells", "--images", "x", "--masks", "y", "--classes", CLASSES),
    ],
)
def test_a_file_where_data_sets_are_looked_for_is_an_error(tmp_path, words):
    file = tmp_path / "data"
    file.write_text("")
    with pytest.raises(UserError, match=r"data: .*expected the folder of data sets"):
        _run(*words, "--dir", file)
    assert file.read_text() == ""


def test_a_folder_that_is_missing_has_no_data_sets(tmp_path, capsys):
    assert _run("list", "--dir", tmp_path / "data") == 0
    assert "no data set is prepared in" in capsys.readouterr().out


def test_an_empty_folder_is_named(tmp_path):
    for kind in ("images", "masks"):
        (tmp_path / kind).mkdir()
    with pytest.raises(UserError, match=r"images: holds no image \(\.png"):
        _run("prepare", "cells", *_flat(tmp_path), "--dir", tmp_path / "data")


def test_help_teaches_and_loads_nothing_heavy(capsys):
    with pytest.raises(SystemExit):
        _run("prepare", "--help")
    out = capsys.readouterr().out
    assert "examples:" in out and "255 is void" in out
    script = (
        "import argparse, sys\nfrom resseg.cli import data\n"
        "data.add_arguments(argparse.ArgumentParser())\n"
        "heavy = {'jax', 'cv2', 'tensorflow_datasets', 'matplotlib', 'PIL', 'grain'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    found = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True
    )
    assert found.stdout.strip() == "[]", found.stderr


def test_grey_levels_beside_their_images(files, capsys):
    """One folder of both, told apart by patterns; 0, 128 and 255 are the classes."""
    both = files / "both"
    both.mkdir()
    levels = np.array([[0, 128, 255, 255]], np.uint8)
    for seed in range(5):
        picture = np.random.default_rng(seed).integers(0, 256, (1, 4, 3), np.uint8)
        Image.fromarray(picture).save(both / f"{seed}.bmp")
        Image.fromarray(levels).save(both / f"{seed}.png")
    names = ("--classes", "a,b,c", "--dir", files / "data")
    with pytest.raises(UserError, match=r"one folder; say which files .*\*\.png"):
        _run("prepare", "grey", "--images", both, "--masks", both, *names)
    places = ("--images", both / "*.bmp", "--masks", both / "*.png")
    with pytest.raises(UserError, match=r"add --values 0,128,255"):
        _run("prepare", "grey", *places, *names)
    assert _run("prepare", "grey", *places, *names, "--values", "0,128,255") == 0
    assert "warning" not in capsys.readouterr().out
    config = load_config(
        "quickstart", {"data.name": "grey", "data.dir": str(files / "data")}
    )
    source = sources.open_split(config.data, "train")
    assert [source[i]["mask"].tolist() for i in range(4)] == [[[0, 1, 2, 2]]] * 4


def test_masks_with_an_ending_of_their_own(files, capsys):
    for path in sorted((files / "masks").iterdir()):
        path.rename(path.with_name(f"{path.stem}_mask.png"))
    plain = (*_flat(files), "--dir", files / "data")
    with pytest.raises(UserError, match=r"given as a pattern, DIR/\*_mask\.png"):
        _run("prepare", "cells", *plain)
    pattern = ("--masks", files / "masks" / "*_mask.png")
    assert _run("prepare", "cells", *plain, *pattern) == 0
    assert "cells: 10 pairs" in capsys.readouterr().out


def test_colours_name_the_classes_and_strays_are_counted(files, capsys):
    colors = np.array([[0, 0, 0], [128, 64, 128]], np.uint8)
    for path in (files / "masks").iterdir():
        painted = colors[np.array(Image.open(path))]
        painted[0, :3] = (128, 64, 129)
        Image.fromarray(painted).save(path)
    (files / "colors.txt").write_text("ground 0 0 0\nroad 128 64 128\n")
    options = ("--images", files / "images", "--masks", files / "masks")
    options += ("--colors", files / "colors.txt", "--dir", files / "data")
    wrong = r"0\.png: holds colour 128,64,129 \(3 px\); expected one of 2 colours \(10"
    with pytest.raises(UserError, match=wrong) as caught:
        _run("prepare", "streets", *options)
    check = str(caught.value).partition(": resseg data ")[2].removesuffix(")")
    assert _run(*shlex.split(check)) == 2
    capsys.readouterr()
    assert _run("prepare", "streets", *options, "--strays-void") == 0
    out = capsys.readouterr().out
    assert "0.png: holds colour 128,64,129 (3 px); read as void (10 of 10 masks" in out
    rows = [line.split() for line in out.splitlines()]
    assert ["1", "road", "20.00%", "in", "8", "20.00%", "in", "2"] in rows
    assert ["255", "void", "0.62%", "in", "8", "0.62%", "in", "2"] in rows


def test_nothing_is_replaced_by_a_split_file_without_lines(files):
    data = files / "data"
    assert _run("prepare", "cells", *_flat(files), "--dir", data) == 0
    before = {p: p.read_bytes() for p in data.rglob("*") if p.is_file()}
    table = files / "split.csv"
    for content in ("split,name\n", "split,name\n\n,,\n", "name;split\n"):
        table.write_text(content)
        options = ("--split-file", table, "--dir", data, "--overwrite")
        with pytest.raises(UserError, match=r"--split-file .*: names no pair"):
            _run("prepare", "cells", *_flat(files), *options)
    assert {p: p.read_bytes() for p in data.rglob("*") if p.is_file()} == before


@pytest.mark.parametrize(
    "content",
    [
        b"split, name\ntrain, 0\nval, 1\n",
        "Split;Name\r\ntrain;0.png\r\nval;1.png\r\n".encode("utf-16"),
        "\ufeffname\tsplit\n\n0\ttrain\n1\tval\n".encode(),
    ],
)
def test_split_files_as_spreadsheets_write_them(files, capsys, content):
    table = files / "split.csv"
    table.write_bytes(content)
    options = ("--split-file", table, "--dir", files / "data")
    assert _run("prepare", "cells", *_flat(files), *options) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["images", "1", "1"] in rows


def test_a_split_file_in_latin_1_is_refused(files):
    (files / "split.csv").write_bytes("split,name\ntrain,\xe9\n".encode("latin-1"))
    options = ("--split-file", files / "split.csv", "--dir", files / "data")
    with pytest.raises(UserError, match=r"split\.csv: not UTF-8 text .*line 2"):
        _run("prepare", "cells", *_flat(files), *options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--values", "0,128"], r"--values 0,128: 2 values for 3 classes"),
        (["--values", "0,128,128"], "a value comes twice"),
        (["--values", "0,x,2"], "expected numbers, as in 0,128,255"),
        (["--values", "0,1,70000"], "expected 0 to 65535"),
        (["--values", "0,1,2", "--first", "1"], "--values and --first: give one"),
        (["--values", "0,1,2", "--void", "2"], "--void 2: --values makes it a class"),
        (["--binary"], "--binary: means 2 classes, and 3 are named"),
        (["--first", "253"], "--first 253: expected 0 to 252"),
        (["--layout", "vok"], r"--layout='vok': choose from .*did you mean 'voc'"),
        (["--layout", "voc"], "--layout voc: give its tree with --folder"),
        (["--colors", "voc"], "drop --classes"),
    ],
)
def test_what_masks_mean_is_said_once(files, options, message):
    pair = ("--images", files / "images", "--masks", files / "masks")
    with pytest.raises(UserError, match=message):
        _run("prepare", "cells", *pair, "--classes", "a,b,c", *options)
