"""What a config describes: the parts of a network, their sums, their table."""

import io

import jax
import jax.numpy as jnp
import pytest

from resseg.blueprint import table
from resseg.blueprint.blueprint import Blueprint
from resseg.blueprint.network import build_segmenter
from resseg.blueprint.table import print_description
from resseg.blueprint.trace import trace
from resseg.config.load import load_config
from resseg.console import open_console

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


def test_what_is_small_is_not_shown_as_nothing():
    decimals = [table._decimal(x) for x in (0, 9e-4, 1e-3, 1.4e-3, 2.0)]
    assert decimals == ["", "<0.001", "0.001", "0.001", "2.000"]
    assert [table._percent(x) for x in (0, 0.0123)] == ["", "1.2%"]
    units = [table.unit_of(macs) for macs in (999_999_999, 1_000_000_000)]
    assert units == [("M", 1e6), ("G", 1e9)]


def test_wholes_are_bold_and_parts_without_parameters_dim(resnet50):
    out = open_console(io.StringIO())
    shown = table._table(resnet50, table._columns(resnet50), (), out)
    styles = dict(zip((row.name for row in resnet50.rows), shown.rows, strict=True))
    assert styles["backbone"].style == styles["aux"].style == "bold"
    assert styles["backbone/stage1/block1"].style == ""
    without = [row.name for row in resnet50.rows if not row.params]
    assert without and all(styles[name].style == "dim" for name in without)
