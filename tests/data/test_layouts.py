"""Folder trees of known data sets, written small and read whole."""

import numpy as np
import pytest
from PIL import Image

from resseg.data import layouts
from resseg.errors import UserError


def _write(root, *names):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.zeros((4, 6), np.uint8)).save(path)


def _pairs(listing):
    return {
        split: [(pair.name, pair.image.name, pair.mask.name) for pair in pairs]
        for split, pairs in listing.splits.items()
    }


def _labels(name, stored):
    layout = layouts.layout(name)
    mask = np.array([stored], np.uint8)
    mapped = layout.rule.apply(mask, len(layout.classes))
    return mapped.labels[0].tolist(), mapped.strays


def test_camvid_as_segnet_has_it(tmp_path):
    for split, name in (("train", "a"), ("train", "b"), ("val", "c"), ("test", "d")):
        _write(tmp_path, f"{split}/{name}.png", f"{split}annot/{name}.png")
    (tmp_path / "train.txt").write_text("")
    layout = layouts.layout("camvid")
    listing = layout.scan(tmp_path)
    assert _pairs(listing) == {
        "train": [("a", "a.png", "a.png"), ("b", "b.png", "b.png")],
        "val": [("c", "c.png", "c.png")],
        "test": [("d", "d.png", "d.png")],
    }
    assert listing.splits["val"][0].mask.parent.name == "valannot"
    assert layout.classes[0] == "sky" and layout.classes[10] == "bicyclist"
    assert _labels("camvid", [0, 10, 11, 12, 255]) == (
        [0, 10, 255, 255, 255],
        {"12": 1},
    )


def test_voc(tmp_path):
    _write(tmp_path, *(f"JPEGImages/{n}.jpg" for n in "abcde"))
    _write(tmp_path, *(f"SegmentationClass/{n}.png" for n in "abc"))
    lists = tmp_path / "ImageSets/Segmentation"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("b\na\n")
    (lists / "val.txt").write_text("c\n")
    (lists / "trainval.txt").write_text("a\nb\nc\n")
    listing = layouts.layout("voc").scan(tmp_path)
    assert _pairs(listing) == {
        "train": [("b", "b.jpg", "b.png"), ("a", "a.jpg", "a.png")],
        "val": [("c", "c.jpg", "c.png")],
    }
    assert [pair.split for pair in listing.pairs] == ["train", "train", "val"]
    assert listing.findings == []
    assert _labels("voc", [0, 20, 21, 255]) == ([0, 20, 255, 255], {"21": 1})
    (lists / "val.txt").write_text("c\ne\n")
    (finding,) = layouts.layout("voc").scan(tmp_path).findings
    assert finding.kind == "pair" and "'e': no image and mask" in finding.message


def test_cityscapes(tmp_path):
    for split, city, name in (
        ("train", "aachen", "aachen_000000_000019"),
        ("train", "ulm", "ulm_000001_000019"),
        ("val", "munster", "munster_000000_000019"),
        ("test", "berlin", "berlin_000000_000019"),
    ):
        masks = f"gtFine/{split}/{city}/{name}_gtFine"
        _write(
            tmp_path,
            f"leftImg8bit/{split}/{city}/{name}_leftImg8bit.png",
            f"{masks}_labelIds.png",
            f"{masks}_color.png",
            f"{masks}_instanceIds.png",
        )
    listing = layouts.layout("cityscapes").scan(tmp_path)
    assert [(pair.split, pair.name, pair.mask.name) for pair in listing.pairs] == [
        ("train", "aachen_000000_000019", "aachen_000000_000019_gtFine_labelIds.png"),
        ("train", "ulm_000001_000019", "ulm_000001_000019_gtFine_labelIds.png"),
        ("val", "munster_000000_000019", "munster_000000_000019_gtFine_labelIds.png"),
    ]
    assert [item.message for item in listing.findings] == [
        "left out: the masks of the split test are not public"
    ]
    labels, strays = _labels("cityscapes", [7, 8, 33, 0, 9, 255, 34])
    assert labels == [0, 1, 18, 255, 255, 255, 255] and strays == {"34": 1}


def test_ade(tmp_path):
    for part in ("training", "validation"):
        _write(tmp_path, f"images/{part}/x.jpg", f"annotations/{part}/x.png")
    listing = layouts.layout("ade").scan(tmp_path)
    pairs = [("x", "x.jpg", "x.png")]
    assert _pairs(listing) == {"train": pairs, "val": pairs}
    assert _labels("ade", [0, 1, 150, 151]) == ([255, 0, 149, 255], {"151": 1})
    assert layouts.layout("ade").classes[149] == "flag"


@pytest.mark.parametrize("name", [name for name in layouts.NAMES if name != "folders"])
def test_another_tree_is_refused_and_the_right_folder_named(tmp_path, name):
    scan = layouts.layout(name).scan
    with pytest.raises(UserError, match=r"--folder .*: no such folder"):
        scan(tmp_path / "missing")
    with pytest.raises(UserError, match=f"not the tree of --layout {name}"):
        scan(tmp_path)
    first = layouts.layout(name).tree.partition(",")[0].partition("/")[0]
    (tmp_path / "inner" / first).mkdir(parents=True)
    with pytest.raises(UserError, match=r"did you mean --folder .*inner"):
        scan(tmp_path)
