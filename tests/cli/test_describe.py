"""`resseg describe` as it is typed."""

import json

import pytest

from resseg.blueprint.blueprint import Blueprint
from resseg.cli.describe import find_classes
from resseg.cli.main import main
from resseg.config.load import load_config
from resseg.runs import layout
from tests.conftest import QUICKSTART


def test_classes_are_those_of_the_data(tmp_path):
    overrides = {"data.dir": str(tmp_path)}
    assert find_classes(load_config("base", overrides).data) == 7
    assert list(tmp_path.iterdir()) == [], "nothing is drawn for it"
    unknown = load_config("base", overrides | {"data.name": "cells"})
    assert find_classes(unknown.data) is None
    assert find_classes(load_config("base", {"data.name": "cityscapes"}).data) == 19


def describe(*arguments):
    return main(["describe", "--config", str(QUICKSTART), *arguments])


def test_the_command_prints_table_and_totals(capsys, monkeypatch):
    # A pipe gets every column, however wide the terminal is that started it.
    monkeypatch.setenv("COLUMNS", "40")
    assert describe("--size", "64x96") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith("64×96 pixels, 7 classes (of data set shapes)")
    header = "part kind shortcut str. dil. output field params share MMACs"
    assert lines[1].split() == header.split()
    block = next(line for line in lines if line.startswith("  block1"))
    numbers = "block1 basic projection 2 1 32×48×16 9 4,960 1.0% 7.471"
    assert block.split() == numbers.split()
    assert any("505,231 parameters" in line for line in lines)
    assert any("output stride 16, receptive field 93" in line for line in lines)
    assert lines[-1] == "forks: 8; shortcuts: 4 projection"


def test_json_holds_the_same_with_every_digit(capsys):
    assert describe("--size=64x96", "--classes=5", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    expected = Blueprint.of(load_config(QUICKSTART), 5, (64, 96)).description
    assert list(told) == [
        "title",
        "size",
        "num_classes",
        "params",
        "macs",
        "totals",
        "output_stride",
        "receptive_field",
        "forks",
        "shortcuts",
        "rows",
        "num_classes_from",
    ]
    assert (told["params"], told["macs"]) == (expected.params, expected.macs)
    _, head = expected.parts
    assert told["totals"]["head"]["params"] == head.params
    assert len(told["rows"]) == len(expected.rows)
    row = told["rows"][4]
    assert row == {
        "name": "backbone/stage1/block1",
        "kind": "basic",
        "shortcut": "projection",
        "stride": 2,
        "dilation": 1,
        "output": [32, 48, 16],
        "params": 4960,
        "macs": 32 * 48 * (2 * 9 * 16 * 16 + 16 * 16),
        "receptive_field": 9,
        "paths": ["shortcut", "branch"],
        "parts": 0,
        "share": 4960 / expected.params,
    }


def test_overrides_apply_and_assumptions_are_said(capsys, tmp_path):
    where = f"--config.data.dir={tmp_path}"
    assert describe("--config.data.name=cells", where, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["num_classes"] == 2
    assert told["num_classes_from"] == "assumed: data set cells is not prepared"
    assert told["size"] == list(load_config(QUICKSTART).data.crop)


def test_a_run_folder_tells_its_classes(capsys, tmp_path):
    values = load_config(QUICKSTART, {"data.name": "cells"}).to_json()
    (tmp_path / layout.CONFIG).write_text(values)
    names = {"classes": ["background", "a", "b"]}
    (tmp_path / layout.DATASET).write_text(json.dumps(names))
    assert main(["describe", "--config", str(tmp_path)]) == 0
    assert "3 classes (of the run)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--size", "512"], "--size='512': expected HEIGHTxWIDTH"),
        (["--size=0x64"], "--size='0x64': expected HEIGHTxWIDTH"),
        (["--size=64x-1"], "expected HEIGHTxWIDTH"),
        (["--classes=0"], "--classes=0: expected 1 or more"),
        (["--classes=many"], "invalid int value: 'many'"),
        (["--sise=64x64"], "did you mean '--size'?"),
        (["--config.model.head.name=unett"], "did you mean 'unet'?"),
    ],
)
def test_wrong_input_is_one_line(capsys, arguments, message):
    assert describe(*arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1 and message in captured.err


def test_memory_is_that_of_the_compiled_step(capsys):
    small = (
        "--config.data.batch_size=4",
        "--config.mesh.data=2",
        "--config.model.backbone.width=4",
        "--config.model.head.name=fcn",
        "--config.optim.name=sgd",
    )
    assert describe("--memory", "--json", "--size", "32x32", *small) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["device"], said["devices"]) == ("cpu", 2)
    total = said["bytes"].pop("total")
    assert total == sum(said["bytes"].values())
    config = load_config(
        QUICKSTART, {"model.backbone.width": 4, "model.head.name": "fcn"}
    )
    weights = 4 * Blueprint.of(config, 7).params
    images = 2 * 32 * 32 * (3 + 1) * 4  # of one of two devices, with their labels
    # Weights, their momenta, and statistics, which are few.
    assert 0 < said["bytes"]["state"] - 2 * weights - images < weights / 2
    assert said["bytes"]["between"] > images


def test_parts_of_a_batch_that_are_not_as_large_are_refused(capsys):
    assert describe("--memory", "--config.train.accumulate=3") == 2
    error = capsys.readouterr().err
    assert "config.train.accumulate=3: expected a divisor of 2" in error
