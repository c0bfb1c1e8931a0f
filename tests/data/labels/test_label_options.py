"""What options of labels do, and what is said of them."""

import importlib.util
import json

import label_trees
import numpy as np
import pytest
from label_commands import call, stored
from PIL import Image

from resseg.data.labels.evidence import look_at
from resseg.data.labels.table import FORMATS, NAMES


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    return label_trees.labelme(tmp_path_factory.mktemp("labelme"))


def test_what_was_decided_is_kept_and_said(tree, tmp_path):
    status, out, _ = call(
        *("prepare", "set", *tree.options, "--dir", tmp_path, "--classes"),
        *("floor,edge", "--rest", "floor", "--unlisted", "void", "--overlap", "area"),
    )
    assert status == 0
    said = "labels: format labelme; overlap area; rest floor; unlisted void"
    assert said in out and "objects of no class, void: cell (6)" in out
    described = json.loads(next(tmp_path.rglob("resseg.json")).read_text())
    assert described["labels"] == {
        **{"format": "labelme", "overlap": "area"},
        **{"rest": "floor", "unlisted": "void"},
    }
    assert said in call("check", "set", "--dir", tmp_path)[1]
    values = np.unique(np.concatenate([m.ravel() for m in stored(tmp_path).values()]))
    assert values.tolist() == [0, 1, 255]


def test_the_command_that_shows_every_error_has_the_options(tree, tmp_path):
    folder = tree.options[1]
    names = list(folder.glob("*.json"))
    for path in names:
        (tmp_path / path.name).write_text(path.read_text().replace("rectangle", "line"))
    options = ("--images", folder, "--labels", tmp_path, "--overlap", "area")
    status, _, err = call("prepare", "set", *options, "--dir", tmp_path / "data")
    assert status == 2 and "a.json: shape 1 (edge): a line covers no pixels" in err
    for path in names:
        (tmp_path / path.name).write_text(path.read_text().replace("cell", "c\\u00e9"))
    (folder / "b.jpg").rename(folder / "gone.jpg")
    try:
        words = (*options, "--val-fraction", "0.5", "--dir", tmp_path / "data")
        status, _, err = call("prepare", "set", *words)
    finally:
        (folder / "gone.jpg").rename(folder / "b.jpg")
    assert status == 2 and "b.json: no image" in err
    assert not (tmp_path / "data").exists()


def test_splits_have_files_of_their_own(tmp_path):
    made = label_trees.coco(tmp_path)
    content = json.loads((tmp_path / "instances.json").read_text())
    words = []
    for split, keys in (("train", (10, 12)), ("val", (11,))):
        part = content | {
            "images": [i for i in content["images"] if i["id"] in keys],
            "annotations": [a for a in content["annotations"] if a["image_id"] in keys],
        }
        (tmp_path / f"{split}.json").write_text(json.dumps(part))
        words += ["--labels", f"{split}={tmp_path / split}.json"]
    images = ("--images", tmp_path / "images")
    status, out, _ = call("prepare", "set", *images, *words, "--dir", tmp_path / "d")
    assert status == 0 and ["images", "2", "1"] in [r.split() for r in out.splitlines()]
    assert "named by no label file" not in out
    masks = stored(tmp_path / "d")
    for name, mask in made.masks.items():
        np.testing.assert_array_equal(masks[name], mask)
    _, _, err = call("prepare", "x", *images, *words, "--val-fraction", "0.5")
    assert "--labels brings its splits" in err
    twice = [*words[:2], *words[:2]]
    assert "--labels: 'train' comes twice" in call("check", *images, *twice)[2]


def test_a_turned_image_is_not_of_the_size_that_its_labels_say(tmp_path):
    made = label_trees.coco(tmp_path)
    file = tmp_path / "images/a.png"
    picture, exif = Image.open(file), Image.Exif()
    exif[0x0112] = 6
    picture.save(file, exif=exif)
    status, out, _ = call("check", *made.options)
    assert status == 2 and "is for 30x41, and" in out and "a.png is 41x30" in out


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"a.txt": "0 1 2"}, "is of no format that its content tells; say which"),
        ({"a.json": "{}"}, "is of no format"),
        (
            {"a.json": '{"shapes": [], "imagePath": "", "from_name": 0, "to_name": 0}'},
            "may be labelme, labelstudio; say which with --format: coco, labelme",
        ),
        ({}, "holds no file"),
    ],
)
def test_a_format_that_is_not_plain_is_asked_for(files, said, tmp_path):
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    status, _, err = call("check", "--labels", tmp_path)
    assert status == 2 and said in err and err.count("\n") == 1


@pytest.mark.parametrize("row", FORMATS, ids=lambda row: row.name)
def test_a_missing_package_is_one_line(row, tmp_path, monkeypatch):
    if not row.needs:
        pytest.skip("needs none")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    status, _, err = call("check", "--labels", tmp_path, "--format", row.name)
    assert status == 2
    assert f"{row.needs} is missing, pip install 'resseg[labels]'" in err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--labels", "nowhere"), "--labels nowhere: no such file or folder"),
        (("--labels", "a=1", "--labels", "b=2"), "--labels 1: no such file"),
        (("--labels", "1", "--labels", "2"), "give each as SPLIT=PATH"),
        (("--labels", ".", "--masks", "."), "--labels and --masks: give one"),
        (("--labels", ".", "--format", "coko"), "did you mean 'coco'"),
        (("--labels", ".", "--axis", "3"), "--axis 3: expected 0, 1 or 2"),
        (("--labels", ".", "--window=9,1"), "--window 9,1: expected a low and a high"),
        (("--labels", ".", "--window=a,1"), "--window a,1: expected numbers"),
        (("--labels", ".", "--channels", "0,1"), "--channels 0,1: expected one or"),
        (("--images", ".", "--rest", "x"), "--rest: goes with --labels"),
    ],
)
def test_options_that_make_no_sense_are_named(words, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    status, _, err = call("check", *words)
    assert status == 2 and said in err and err.count("\n") == 1


def test_options_of_masks_and_of_objects_do_not_mix(tree, tmp_path):
    status, _, err = call("check", *tree.options, "--binary")
    assert status == 2 and "--binary: these labels are objects (labelme)" in err
    made = label_trees.masks(tmp_path)
    status, _, err = call("check", *made.options, "--overlap", "area")
    assert status == 2 and "--overlap: these labels are masks (masks)" in err


def test_geojson_in_degrees_is_projected_into_its_images(tmp_path):
    made = label_trees.geojson(tmp_path, projected=True)
    assert "crs" not in (tmp_path / "fields.geojson").read_text()
    assert call("prepare", "set", *made.options, "--dir", tmp_path / "d")[0] == 0
    for name, mask in stored(tmp_path / "d").items():
        assert np.count_nonzero(mask) > 0
        np.testing.assert_array_equal(mask, made.masks[name])


def test_slices_are_cut_across_an_axis_and_scaled_by_a_window(tmp_path):
    nibabel = pytest.importorskip("nibabel")
    made = label_trees.nifti(tmp_path)
    words = ("--axis", "0", "--window=-1,1", "--val-fraction", "0.4")
    status, *_ = call("prepare", "set", *made.options, *words, "--dir", tmp_path / "d")
    assert status == 0
    labels = np.asarray(nibabel.load(tmp_path / "labels/b.nii.gz").dataobj)
    masks = stored(tmp_path / "d")
    np.testing.assert_array_equal(masks["b-0005"], labels[5].T)
    values = np.asarray(nibabel.load(tmp_path / "scans/b.nii.gz").dataobj)[5].T
    grey = np.rint((values.clip(-1, 1) + 1) / 2 * 255).astype(np.uint8)
    image = stored(tmp_path / "d", what="image")["b-0005"]
    np.testing.assert_array_equal(image, np.repeat(grey[..., None], 3, axis=2))


def test_volumes_that_lie_elsewhere_are_refused(tmp_path):
    made = label_trees.nifti(tmp_path)
    shape = (*label_trees.SIZES["a"][::-1], 4)
    file = tmp_path / "labels/a.nii.gz"
    label_trees.volume(file, np.zeros(shape, np.uint8), np.diag([1, 1, 9, 1.0]))
    assert "a.nii.gz: lies elsewhere than" in call("check", *made.options)[2]
    label_trees.volume(file, np.zeros((*shape[:2], 5), np.uint8))
    assert "a.nii.gz: an array of (41, 30, 5); " in call("check", *made.options)[2]


def test_evidence_is_read_from_both_ends_of_a_file(tmp_path):
    file = tmp_path / "a.json"
    middle = " " * (1 << 18)
    file.write_text('{"shapes": [], "imageData": "' + middle + '", "imagePath": ""}')
    assert {"shapes", "imagePath"} <= look_at(file).keys


def test_the_help_names_every_format():
    _, out, _ = call("prepare", "--help")
    assert ", ".join(NAMES) in " ".join(out.split())
