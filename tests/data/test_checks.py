"""Each thing that can be wrong with a data set, and how it is reported."""

import io
import shutil

import numpy as np
import pytest
from ml_collections import ConfigDict
from PIL import Image
from rich.console import Console

from resseg.config.keys import base_config
from resseg.data import VOID, checks, pairs, sources
from resseg.data.findings import Finding, Report, print_report
from resseg.data.mask_rule import AS_INDICES, MaskRule, in_order
from resseg.data.pipeline import TrainLoader
from resseg.data.spec import LONGEST_SIDE
from resseg.errors import UserError

CLASSES = ("background", "cell", "wall")


def _picture(seed, height=6, width=8):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


@pytest.fixture
def root(tmp_path):
    """Two pairs in train, one in val; every class in every mask; nothing wrong."""
    mask = np.zeros((6, 8), np.uint8)
    mask[0, :3] = 1
    mask[1, :2] = 2
    seed = 0
    for split, names in (("train", "ab"), ("val", "c")):
        for kind in ("images", "masks"):
            (tmp_path / split / kind).mkdir(parents=True)
        for name in names:
            seed += 1
            picture = Image.fromarray(_picture(seed))
            picture.save(tmp_path / split / "images" / f"{name}.png")
            Image.fromarray(mask).save(tmp_path / split / "masks" / f"{name}.png")
    return tmp_path


def _check(root, classes=CLASSES, rule=AS_INDICES):
    return checks.check_folder(pairs.scan_folder(root), classes, rule, where="here")


def _set_mask(path, values):
    Image.fromarray(np.asarray(values, np.uint8)).save(path)


def _found(report):
    return [(item.kind, item.file) for item in report.findings]


def test_clean_folder_has_counts_and_no_findings(root):
    report = _check(root)
    assert report.findings == [] and report.status == 0
    train = report.splits["train"]
    assert train.images == 2 and train.sizes == {(6, 8): 2}
    assert train.pixels[:3].tolist() == [86, 6, 4] and train.pixels.sum() == 96
    assert train.present[:3].tolist() == [2, 2, 2]


def test_id_beyond_the_classes(root):
    path = root / "train/masks/b.png"
    mask = np.array(Image.open(path))
    mask[5, :4] = 7
    mask[4, :2] = 9
    _set_mask(path, mask)
    report = _check(root)
    assert report.status == 2
    assert report.lines("error") == [
        f"{path}: holds 7 (4 px), 9 (2 px); classes are 0 to 2, 255 is void"
    ]


def test_values_that_are_no_class_are_counted_over_all_masks(root):
    for path in root.glob("train/masks/*.png"):
        mask = np.array(Image.open(path))
        mask[5, :4] = 7
        _set_mask(path, mask)
    path = root / "train/masks/a.png"
    line = f"{path}: holds 7 (4 px); {{}} (2 of 3 masks: 7 (8 px))"
    assert _check(root).lines("error")[0] == line.format(
        "classes are 0 to 2, 255 is void"
    )
    report = _check(root, rule=MaskRule(strays_are_void=True))
    assert report.status == 0
    assert report.lines("warning")[0] == line.format("read as void")
    assert report.splits["train"].pixels[VOID] == 8
    assert _check(root).splits["train"].pixels[VOID] == 0


def test_as_many_grey_levels_as_classes_ask_for_values(root):
    levels = np.array([0, 128, 255], np.uint8)
    for path in root.glob("*/masks/*.png"):
        _set_mask(path, levels[np.array(Image.open(path))])
    assert _check(root).errors[0].message.endswith("add --values 0,128,255")
    fixed = _check(root, rule=MaskRule(values=in_order((0, 128, 255))))
    assert fixed.findings == []
    assert fixed.splits["train"].pixels[[0, 1, 2, VOID]].tolist() == [86, 6, 4, 0]


def test_a_split_that_is_void_throughout_is_named(root):
    _set_mask(root / "val/masks/c.png", np.full((6, 8), VOID))
    assert "here: no pixel of split 'val' is labelled" in _check(root).lines("warning")


def test_many_unseen_classes_are_counted(root):
    classes = [f"class{index}" for index in range(150)]
    (line, _) = _check(root, classes).lines("warning")
    assert line.startswith("here: no mask of split 'train' holds class 3 'class3', ")
    assert line.endswith("10 'class10' and 139 more") and len(line) < 200


def test_masks_that_count_from_one(root):
    for path in root.glob("*/masks/*.png"):
        _set_mask(path, np.array(Image.open(path)) + 1)
    report = _check(root)
    assert report.errors[0].message == (
        "masks count from 1 to 3, classes count from 0; add --first 1 "
        "(value 1 is class 0)"
    )
    assert _check(root, rule=MaskRule(first=1)).findings == []


def test_black_and_white_masks(root):
    for path in root.glob("*/masks/*.png"):
        _set_mask(path, 255 * (np.array(Image.open(path)) > 0))
    report = _check(root, CLASSES[:2])
    assert [kind for kind, _ in _found(report)] == ["binary"]
    assert "add --binary" in report.lines("error")[0]
    fixed = _check(root, CLASSES[:2], MaskRule(binary=True))
    assert fixed.findings == []
    assert fixed.splits["train"].pixels[1] == 10


def test_void_beside_classes_is_not_taken_for_black_and_white(root):
    path = root / "train/masks/a.png"
    _set_mask(path, 255 * (np.array(Image.open(path)) > 0))
    assert _check(root).findings == []
    assert _check(root).splits["train"].pixels[VOID] == 5


def test_class_that_a_split_never_shows(root):
    _set_mask(root / "val/masks/c.png", np.eye(6, 8))
    report = _check(root)
    assert report.status == 0
    assert report.lines("warning") == [
        "here: no mask of split 'val' holds class 2 'wall'"
    ]


def test_missing_and_extra_files(root):
    (root / "train/masks/b.png").unlink()
    (root / "val/images/notes.txt").write_text("")
    (root / "val/images/.DS_Store").write_text("")
    (root / "val/images/._c.png").write_text("")
    (root / "val/images/more").mkdir()
    _set_mask(root / "val/masks/d.png", np.zeros((6, 8)))
    report = _check(root)
    assert _found(report) == [
        ("pair", str(root / "train/images/b.png")),
        ("extra", str(root / "val/images/notes.txt")),
        ("extra", str(root / "val/images")),
        ("extra", str(root / "val/images")),
        ("extra", str(root / "val/masks/d.png")),
    ]
    assert [item.message for item in report.findings[2:4]] == [
        "2 hidden files not read: .DS_Store, ._c.png",
        "1 subfolder not read: more",
    ]
    assert report.status == 2


def test_names_that_do_not_match_at_all(root):
    (root / "val/masks/c.png").rename(root / "val/masks/c_mask.png")
    (finding,) = _check(root).errors
    assert finding.kind == "pair"
    assert "c.png here, c_mask.png in" in finding.message


def test_two_images_of_one_name_and_a_jpeg_mask(root):
    Image.fromarray(_picture(9)).save(root / "val/images/c.jpg")
    (root / "train/masks/b.png").unlink()
    Image.fromarray(_picture(9)).save(root / "train/masks/b.jpg")
    messages = {item.file: item.message for item in _check(root).errors}
    assert messages[str(root / "val/images/c.png")] == "same name as c.jpg"
    assert (
        "a JPEG file, which changes class indices"
        in messages[str(root / "train/masks/b.jpg")]
    )


def test_sizes_that_differ(root):
    path = root / "val/masks/c.png"
    _set_mask(path, np.eye(5, 8) + 2 * np.eye(5, 8, 2))
    report = _check(root)
    assert report.lines("error") == [
        f"{path}: mask is 5x8, image is 6x8 (height x width)"
    ]


def test_orientation_is_named_where_it_matters(root):
    exif = Image.Exif()
    exif[0x0112] = 6
    path = root / "val/images/c.png"
    Image.open(path).save(path, exif=exif)
    report = _check(root)
    assert [kind for kind, _ in _found(report)] == ["size", "turned"]
    assert "mask is 6x8, image is 8x6" in report.errors[0].message
    assert "EXIF" in report.errors[0].message


def test_unreadable_files(root):
    cut = root / "train/images/a.png"
    cut.write_bytes(cut.read_bytes()[:-40])
    text = root / "val/masks/c.png"
    text.write_text("no picture")
    empty = root / "train/masks/b.png"
    empty.write_bytes(b"")
    report = _check(root)
    unreadable = {item.file for item in report.errors if item.kind == "unreadable"}
    assert unreadable == {str(cut), str(text), str(empty)}
    assert report.status == 2


def test_empty_split(root):
    for path in (root / "val").rglob("*.png"):
        path.unlink()
    report = _check(root)
    kinds = ".png, .jpg, .jpeg, .bmp, .tif, .tiff, .webp"
    message = f"{root / 'val/images'}: holds no image ({kinds})"
    assert report.lines("error") == [message]


def test_a_set_with_nothing_to_evaluate_on_is_warned_of(root):
    shutil.rmtree(root / "val")
    report = _check(root)
    assert report.status == 0
    assert report.lines("warning") == [
        "here: has images in split 'train' alone: none to evaluate on"
    ]
    flat = pairs.scan_pairs(root / "train/images", root / "train/masks")
    assert checks.check_folder(flat, CLASSES).findings == []


def test_a_jpeg_mask_counts_once(root):
    for path in root.glob("*/masks/*.png"):
        Image.open(path).save(path.with_suffix(".jpg"))
        path.unlink()
    assert [item.kind for item in _check(root).errors] == ["unreadable"] * 3
    (root / "val/masks/c.jpg").unlink()
    first = _check(root).errors[0]
    assert first.message.startswith("holds no mask (.png, .jpg")
    assert first.file == str(root / "val/masks")


def test_folder_without_the_layout(tmp_path, root):
    with pytest.raises(UserError, match="holds no <split>/images"):
        pairs.scan_folder(root / "train")
    with pytest.raises(UserError, match="no such folder"):
        pairs.scan_folder(root / "missing")
    (root / "test/images").mkdir(parents=True)
    with pytest.raises(UserError, match="has images/ but no masks/"):
        pairs.scan_folder(root)


def test_same_picture_in_two_splits(root):
    picture = Image.open(root / "train/images/b.png")
    (root / "val/images/c.png").unlink()
    picture.save(root / "val/images/c.tif")  # another file, the same pixels
    report = _check(root)
    assert _found(report) == [("duplicate", str(root / "val/images/c.tif"))]
    assert str(root / "train/images/b.png") in report.findings[0].message


def test_mask_without_a_label(root):
    _set_mask(root / "train/masks/a.png", np.full((6, 8), VOID))
    assert _found(_check(root)) == [("unlabelled", str(root / "train/masks/a.png"))]


def test_report_puts_errors_first_and_counts_the_rest():
    findings = [Finding("pair", f"{i}.png", "no mask") for i in range(8)]
    report = Report("here", CLASSES, {}, findings)
    lines = report.lines("error")
    assert lines[0] == "0.png: no mask" and len(lines) == 6
    assert lines[-1] == "... and 3 more findings of this kind (pair)"
    out = io.StringIO()
    print_report(report, Console(file=out, width=60))
    printed = out.getvalue().splitlines()
    assert printed[0] == "here: 0 pairs, 3 classes"
    assert printed[1] == "error 0.png: no mask"


def test_report_shows_shares(root):
    out = io.StringIO()
    print_report(_check(root), Console(file=out, width=80))
    rows = [line.split() for line in out.getvalue().splitlines()]
    assert ["1", "cell", "6.25%", "in", "2", "6.25%", "in", "1"] in rows
    assert ["sizes", "6x8", "6x8"] in rows
    assert rows[-1] == ["nothing", "wrong"]


def test_prepared_set_is_checked_from_its_records(tmp_path):
    mask = np.zeros((6, 8), np.uint8)
    mask[0, 0] = 1

    def records(seed):
        yield {"image": _picture(seed), "mask": mask, "name": "one"}

    splits = {"train": lambda: records(1), "val": lambda: records(1)}
    sources.write_dataset(tmp_path, "cells", CLASSES, splits)
    report = checks.check_prepared(ConfigDict({"name": "cells", "dir": str(tmp_path)}))
    assert _found(report) == [
        ("unseen", "cells"),
        ("unseen", "cells"),
        ("duplicate", "val/one"),
    ]
    assert report.splits["val"].pixels[:2].tolist() == [47, 1]


def test_a_stored_image_that_is_too_long_for_training(tmp_path):
    def examples():
        image = np.zeros((2, LONGEST_SIDE + 1, 3), np.uint8)
        for name in ("long", "longer"):
            yield {"image": image, "mask": image[..., 0], "name": name}

    sources.write_dataset(tmp_path, "cells", CLASSES, {"train": examples})
    data = base_config()
    data.update({"data": {"name": "cells", "dir": str(tmp_path)}})
    report = checks.check_prepared(data.data)
    message = f"train/long: 2x{LONGEST_SIDE + 1}: no crop can be cut from sides beyond"
    assert report.lines("error")[0] == f"{message} {LONGEST_SIDE}"
    data.update({"data": {"batch_size": 2, "crop": (32, 32)}})
    with pytest.raises(UserError, match=f"2x{LONGEST_SIDE + 1} .*prepare its tiles"):
        next(TrainLoader(data.data, 0))
