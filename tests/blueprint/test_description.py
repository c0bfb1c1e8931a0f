"""`resseg describe`: the parts of a network, their sums, and the command."""

import io
import json

import jax
import jax.numpy as jnp
import pytest

from resseg.blueprint.blueprint import Blueprint
from resseg.blueprint.network import build_segmenter
from resseg.blueprint.table import print_description
from resseg.blueprint.trace import trace
from resseg.cli.describe import find_classes
from resseg.cli.main import main
from resseg.config.load import load_config
from resseg.runs import layout
from tests.conftest import QUICKSTART

BASE = "base"
B = "model.backbone."
TINY = {B + "depth": 50, B + "stage_sizes": (1, 2, 1, 1), B + "width": 8}
BASIC = {B + "depth": 10, B + "width": 8}


def configured(overrides):
    return load_config(BASE, overrides)


def named(description, name):
    (row,) = (row for row in description.rows if row.name == name)
    return row


@pytest.fixture(scope="module")
def resnet50():
    overrides = {
        B + "depth": 50,
        B + "output_stride": 8,
        "model.head.name": "fcn",
        "model.aux.weight": 0.5,
    }
    return Blueprint.of(configured(overrides), 21, (520, 520)).description


def test_fcn_resnet50_is_described_as_published(resnet50):
    assert resnet50.title == "fcn on ResNet-50 (v1.5, width 64)"
    assert resnet50.params == 35_322_218
    assert round(resnet50.macs / 1e9, 3) == 152.717
    assert resnet50.output_stride == 8
    assert resnet50.receptive_field == 427
    assert [part.name for part in resnet50.parts] == ["backbone", "head", "aux"]
    assert [part.params for part in resnet50.parts] == [
        23_508_032,
        9_448_981,
        2_365_205,
    ]
    assert resnet50.shortcuts == {"projection": 4, "identity": 12}
    assert resnet50.forks == 17


def test_rows_stand_in_depth_order_with_what_the_layers_say(resnet50):
    names = [row.name for row in resnet50.rows]
    assert names[:5] == [
        "backbone",
        "backbone/stem",
        "backbone/pool",
        "backbone/stage1",
        "backbone/stage1/block1",
    ]
    assert names[-3:] == ["aux", "aux/conv", "aux/classifier"]
    stem, pool = named(resnet50, "backbone/stem"), named(resnet50, "backbone/pool")
    assert (stem.stride, stem.output, stem.receptive_field) == (2, (260, 260, 64), 7)
    assert (pool.stride, pool.output, pool.receptive_field) == (2, (130, 130, 64), 11)
    first, second = (named(resnet50, f"backbone/stage4/block{i}") for i in (1, 2))
    assert (first.kind, first.shortcut, first.stride) == ("bottleneck", "projection", 1)
    assert (first.dilation, second.dilation) == (2, 4)
    assert second.shortcut == "identity"
    assert second.params == 2 * 2048 * 512 + 9 * 512**2 + 2 * (512 + 512 + 2048)
    assert second.macs == 65**2 * (2 * 2048 * 512 + 9 * 512**2)
    assert second.output == (65, 65, 2048)
    fork = named(resnet50, "backbone/auxiliary_stage3")
    assert (fork.kind, fork.paths) == ("auxiliary", ("aux", "deeper"))
    assert (fork.params, fork.macs, fork.output) == (0, 0, (65, 65, 1024))


@pytest.mark.parametrize(("depth", "projections"), [(18, 3), (34, 3), (50, 4)])
def test_only_blocks_that_change_shape_project(depth, projections):
    overrides = {B + "depth": depth, "model.head.name": "fcn"}
    shortcuts = Blueprint.of(configured(overrides), 2, (64, 64)).description.shortcuts
    blocks = {18: 8, 34: 16, 50: 16}[depth]
    assert shortcuts == {"projection": projections, "identity": blocks - projections}


@pytest.mark.parametrize(
    ("overrides", "shortcuts"),
    [
        ({"model.shortcut.kind": "none"}, {"none": 4}),
        ({"model.shortcut.kind": "conv1x1"}, {"projection": 4}),
        ({"model.shortcut.transition": "A"}, {"identity": 1, "zero-padded": 3}),
        ({"model.shortcut.transition": "C"}, {"projection": 4}),
        ({B + "variant": "v1d"}, {"identity": 1, "projection": 3}),
    ],
)
def test_shortcuts_are_told_apart_by_what_they_do(overrides, shortcuts):
    description = Blueprint.of(configured(BASIC | overrides), 2, (32, 32)).description
    assert description.shortcuts == shortcuts


@pytest.mark.parametrize(
    "overrides",
    [
        BASIC | {"model.head.name": "unet", "model.branch.learn": "channel"},
        TINY | {"model.head.name": "resunet", B + "variant": "v2"},
        TINY | {"model.head.name": "unet", "model.long_skip.kind": "add"},
        BASIC | {"model.head.name": "fcn8s", B + "se_reduction": 4},
        TINY
        | {"model.head.name": "deeplabv3", "model.shortcut.kind": "learned_scalar"},
        TINY
        | {
            "model.head.name": "deeplabv3plus",
            "model.head.separable": True,
            "model.aux.weight": 0.4,
            B + "variant": "v2",
        },
        {B + "depth": 20, "model.head.name": "fcn32s", "model.norm": "group"},
    ],
)
def test_parts_sum_up_and_forks_are_all_there(overrides):
    config, size = configured(overrides), (65, 97)
    description = Blueprint.of(config, 3, size).description
    model = build_segmenter(config.model, 3)
    image = jax.ShapeDtypeStruct((1, *size, 3), jnp.float32)
    params = jax.eval_shape(model.init, jax.random.key(0), image)["params"]
    assert description.params == sum(leaf.size for leaf in jax.tree.leaves(params))
    for row in description.rows:
        if row.parts:
            assert row.params == sum(part.params for part in row.parts), row.name
            assert row.macs == sum(part.macs for part in row.parts), row.name
        assert len(row.output) == 3, row.name
    forks = trace(model, image.shape).forks
    listed = [(row.name, row.paths) for row in description.rows if row.paths]
    assert listed == [(fork.name, fork.paths) for fork in forks]
    assert description.forks == len(forks)
    shapes = {row.name: row.output for row in description.rows}
    for fork in forks:
        if fork.kind in ("long_skip", "auxiliary"):
            assert shapes[fork.name] == fork.shape[1:]


def test_deeplab_rows_show_the_pyramid_and_its_dilations():
    overrides = TINY | {"model.head.name": "deeplabv3", B + "output_stride": 16}
    description = Blueprint.of(configured(overrides), 2, (64, 96)).description
    pyramid = named(description, "head/pyramid")
    assert pyramid.kind == "pyramid"
    assert pyramid.paths == ("conv1x1", "rate6", "rate12", "rate18", "pool")
    assert [part.dilation for part in pyramid.parts] == [1, 6, 12, 18, 1, 1]
    image_level = named(description, "head/pyramid/pool")
    assert image_level.output == (1, 1, 32)
    assert image_level.receptive_field is None
    widest = named(description, "head/pyramid/rate18").receptive_field
    assert widest == description.receptive_field + 2 * 18 * 16


def test_the_size_of_the_image_changes_shapes_and_macs_alone():
    config = configured(BASIC | {"model.head.name": "fcn"})
    small, large = (Blueprint.of(config, 2, (s, s)).description for s in (64, 128))
    assert large.macs == 4 * small.macs
    assert large.params == small.params
    assert large.receptive_field == small.receptive_field
    # Where everything is one pixel, strides are still those of the layers.
    pixel = Blueprint.of(config, 2, (1, 1)).description
    assert [row.stride for row in pixel.rows] == [row.stride for row in large.rows]
    assert named(pixel, "backbone/stage4").output == (1, 1, 64)


def test_classes_are_those_of_the_data(tmp_path):
    overrides = BASIC | {"data.dir": str(tmp_path), "data.crop": (64, 96)}
    assert find_classes(configured(overrides).data) == 7
    assert list(tmp_path.iterdir()) == [], "nothing is drawn for it"
    unknown = configured(overrides | {"data.name": "cells"})
    assert find_classes(unknown.data) is None
    assert find_classes(configured({"data.name": "cityscapes"}).data) == 19


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
    assert told["totals"]["head"]["params"] == named(expected, "head").params
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


@pytest.mark.parametrize("width", [80, 100, 200])
def test_a_terminal_gets_the_columns_that_fit_uncut(monkeypatch, resnet50, width):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "1")
    shown = Terminal()
    print_description(resnet50, "heading", shown)
    text = shown.getvalue()
    assert "…" not in text
    for needed in ("35,322,218", "projection", "65×65×2048", "102.808", "block6"):
        assert needed in text
    assert ("share" in text) == (width == 200)
    assert ("bottleneck" in text) == (width >= 100)
