"""Which object is on top, which category is which class, and which file is meant."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from resseg.data.labels.painting import LOWEST, Object, Objects, paint
from resseg.data.labels.places import Images
from resseg.data.labels.regions import CentrePolygons, Patch
from resseg.data.labels.scheme import left_over, scheme
from resseg.data.pairs import WHOLE, Listing, Pair, split_by_file, split_by_fraction
from resseg.errors import UserError

V = 255
CATEGORIES = ("cell", "edge", "dust")


def strip(category, start, stop, layer=0.0):
    """An object that covers some columns of a row of eight."""
    region = Patch(np.ones((1, stop - start), bool), 0, start)
    return Object(category, region, f"{category} {start}", layer)


def painted(objects, classes=None, rest=None, unlisted="skip", overlap="file"):
    decided = scheme(classes, CATEGORIES, rest, "background", unlisted, overlap)
    mask = paint(Objects("f", tuple(objects)), (1, 8), decided)
    return mask[0].tolist()


def test_later_objects_are_on_top_and_layers_come_first():
    objects = [strip("cell", 0, 4), strip("edge", 2, 6), strip("cell", 5, 7, -1)]
    assert painted(objects) == [1, 1, 2, 2, 2, 2, 1, 0]


def test_smaller_objects_are_on_top_of_larger_ones_and_equal_ones_as_in_the_file():
    objects = [strip("edge", 2, 4), strip("cell", 0, 6), strip("dust", 3, 5)]
    assert painted(objects, overlap="area") == [1, 1, 2, 3, 3, 1, 0, 0]


def test_pixels_of_several_classes_become_void_and_stay_so():
    objects = [strip("cell", 0, 4), strip("cell", 1, 5), strip("edge", 3, 6)]
    objects.append(strip("cell", 4, 8))
    assert painted(objects, overlap="void") == [1, 1, 1, V, V, V, 1, 1]


@pytest.mark.parametrize("overlap", ("file", "area", "void"))
def test_a_crowd_is_void_below_everything(overlap):
    objects = [strip("cell", 0, 4), strip(None, 2, 6, LOWEST)]
    assert painted(objects, overlap=overlap) == [1, 1, 1, 1, V, V, 0, 0]


def test_objects_of_no_class_are_left_out_or_void():
    objects = [strip("cell", 0, 4), strip("dust", 2, 6)]
    classes = ("background", "edge", "cell")
    assert painted(objects, classes) == [2, 2, 2, 2, 0, 0, 0, 0]
    assert painted(objects, classes, unlisted="void") == [2, 2, V, V, V, V, 0, 0]


def test_the_rest_is_background_where_that_is_a_class_or_what_is_said():
    objects = [strip("cell", 0, 4)]
    assert painted(objects, ("cell", "edge")) == [0] * 4 + [V] * 4
    assert painted(objects, ("cell", "edge"), rest="edge") == [0] * 4 + [1] * 4
    assert painted(objects, rest="floor") == [1] * 4 + [0] * 4
    assert painted(objects, rest="void") == [0] * 4 + [V] * 4


def test_the_rest_is_the_first_class_also_where_it_is_a_category():
    decided = scheme(None, ("apple", "floor"), "floor", "background", "skip", "file")
    assert decided.classes == ("floor", "apple") and decided.rest == 0


def test_a_category_called_void_is_no_class():
    decided = scheme(None, ("Void", "cell"), None, "background", "skip", "file")
    assert decided.classes == ("background", "cell")
    assert decided.index("Void") == V


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"classes": ("background", "cel")}, "'cel' is no category .*mean 'cell'"),
        ({"rest": "backgroud"}, None),
        ({"classes": ("cell", "edge"), "rest": "edg"}, "--rest edg: neither a class"),
        ({"overlap": "top"}, "--overlap='top': choose from file, area, void"),
        ({"unlisted": "drop"}, "--unlisted='drop': choose from skip, void"),
    ],
)
def test_what_is_no_class_is_named(changes, message):
    said = {"classes": None, "rest": None, "unlisted": "skip", "overlap": "file"}
    said |= changes
    if message is None:  # the name of a class of its own
        assert painted([strip("cell", 0, 8)], **said) == [1] * 8
        return
    with pytest.raises(UserError, match=message):
        painted([], **said)


def test_what_is_left_over_is_one_line_with_counts():
    decided = scheme(
        ("background", "cell"), CATEGORIES, None, "background", "skip", "file"
    )
    seen = ["cell", "dust", "edge", "dust", None, "void"]
    (finding,) = left_over("f.json", decided, seen)
    assert finding.message == "objects of no class, not painted: dust (2), edge (1)"
    assert left_over("f.json", decided, ["cell", None]) == []


def test_holes_and_borders_are_those_of_imagej():
    square = [(1, 1), (5, 1), (5, 5), (1, 5)]
    hole = [(2, 2), (2, 4), (4, 4), (4, 2)]
    mask = CentrePolygons([square, hole]).mask(6, 6)
    expected = np.zeros((6, 6), bool)
    expected[1:5, 1:5] = True
    expected[2:4, 2:4] = False
    np.testing.assert_array_equal(mask, expected)
    # A border through the middle of pixels: left and upper ones are outside.
    mask = CentrePolygons([[(0.5, 0.5), (2.5, 0.5), (2.5, 2.5), (0.5, 2.5)]]).mask(4, 4)
    np.testing.assert_array_equal(np.argwhere(mask), [[1, 1], [1, 2], [2, 1], [2, 2]])


@pytest.fixture
def images(tmp_path):
    for name in ("a/x.png", "b/x.png", "b/c/y.jpg", ".hidden/z.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (2, 2)).save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("")
    return Images(tmp_path)


@pytest.mark.parametrize(
    ("written", "file"),
    [
        ("y.jpg", "b/c/y.jpg"),
        ("C:\\data\\b\\x.png", "b/x.png"),
        ("/mnt/set/a/x.png", "a/x.png"),
        ("../../../a/x.png", "a/x.png"),
        ("elsewhere/y.jpg", "b/c/y.jpg"),
    ],
)
def test_the_end_of_a_path_says_which_file_is_meant(images, written, file):
    assert images.find(written, "f") == images.root / file


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("x.png", "f: 'x.png' may be a/x.png, b/x.png"),
        ("z.png", "f: no image 'z.png'"),
        ("y.jpeg", "mean 'y.jpg'"),
        ("..", "f: no image '..'"),
        ("b/c", "f: no image 'b/c'"),
    ],
)
def test_a_path_that_means_no_file_is_named(images, written, message):
    with pytest.raises(UserError, match=message):
        images.find(written, "f")


def test_names_of_pairs_tell_files_of_one_name_apart(images):
    found = [images.find(name, name) for name in ("a/x.png", "b/x.png", "y.jpg")]
    for path in found[1:]:
        images.take(path, str(path))
    assert list(images.names().values()) == ["x", "y"]
    images.take(found[0], str(found[0]))
    assert list(images.names().values()) == ["b/x", "y", "a/x"]
    with pytest.raises(UserError, match=r"again: means .*x\.png, as .*x\.png does"):
        images.take(found[0], "again")


def test_images_that_nothing_names_are_one_line(images):
    images.take(images.find("y.jpg", "f"), "f")
    (finding,) = images.unused()
    assert finding.message == "2 images are named by no label file: a/x.png, b/x.png"


@pytest.fixture
def slices():
    pairs = [
        Pair(WHOLE, f"{volume}-{index}", Path("i"), Path("m"), volume)
        for volume in "abcde"
        for index in range(3)
    ]
    return Listing({WHOLE: pairs}, [])


def test_slices_of_a_volume_stay_together(slices):
    drawn = split_by_fraction(slices, 0.4, seed=1)
    groups = {split: {p.group for p in pairs} for split, pairs in drawn.splits.items()}
    assert [len(groups[split]) for split in ("train", "val")] == [3, 2]
    assert not groups["train"] & groups["val"]
    assert len(drawn.pairs) == 15
    with pytest.raises(UserError, match="of 5 volumes or scenes, 0 would be val"):
        split_by_fraction(slices, 0.05, seed=1)


def test_a_draw_without_groups_is_what_it_was(slices):
    alone = [dataclasses.replace(pair, group="") for pair in slices.pairs]
    drawn = split_by_fraction(Listing({WHOLE: alone}, []), 0.2, seed=3)
    chosen = np.random.default_rng(3).permutation(15)[:3]
    assert [p.name for p in drawn.splits["val"]] == [
        alone[index].name for index in sorted(chosen)
    ]


def test_a_file_of_splits_names_volumes(slices, tmp_path):
    file = tmp_path / "split.csv"
    file.write_text("split,name\ntrain,a\nval,c\n")
    placed = split_by_file(slices, file)
    names = {split: [p.name for p in pairs] for split, pairs in placed.splits.items()}
    assert names == {"train": ["a-0", "a-1", "a-2"], "val": ["c-0", "c-1", "c-2"]}
