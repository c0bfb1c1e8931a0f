"""Scenes become windows without being cut: those of their pixels, in whole groups."""

from types import SimpleNamespace

import numpy as np
import pytest
import tifffile

from resseg.cli.main import main
from resseg.data import cuts, sources
from resseg.data.pairs import WHOLE, Listing, Pair
from resseg.errors import UserError

RNG = np.random.default_rng(0)
IMAGE = RNG.integers(1, 256, (70, 100, 3), np.uint8)
MASK = RNG.integers(0, 3, (70, 100), np.uint8)
TILES = {"tile": (16, 16), "compression": "zlib", "metadata": None}
CLASSES = "ground,field,house"


@pytest.fixture
def scenes(tmp_path):
    """Two scenes of one size and a small picture."""
    for name in ("images", "masks"):
        (tmp_path / name).mkdir()
    for name, image, mask in (
        ("a", IMAGE, MASK),
        ("b", IMAGE[::-1], MASK[::-1]),
        ("c", IMAGE[:20, :32], MASK[:20, :32]),
    ):
        path = tmp_path / "images" / f"{name}.tif"
        tifffile.imwrite(path, image, photometric="rgb", **TILES)
        tifffile.imwrite(tmp_path / "masks" / f"{name}.tif", mask, **TILES)
    return tmp_path


def prepare(folder, *options):
    places = ["--images", str(folder / "images"), "--masks", str(folder / "masks")]
    call = ["data", "prepare", "fields", *places, "--classes", CLASSES]
    return main([*call, "--dir", str(folder / "data"), *options])


def test_windows_are_the_pixels_of_the_scene(scenes):
    assert prepare(scenes, "--cut", "32", "--val-fraction", "0.4") == 0
    config = SimpleNamespace(name="fields", dir=str(scenes / "data"), threads=1)
    splits = sources.dataset_spec(config).splits
    seen = {}
    for split in splits:
        for record in sources.open_split(config, split):
            name, *place = record["name"].split("_")
            seen.setdefault(name, set()).add(split)
            top, left = map(int, place) if place else (0, 0)
            image, mask = (IMAGE, MASK) if name != "b" else (IMAGE[::-1], MASK[::-1])
            height, width = record["mask"].shape
            assert (height, width) == ((32, 32) if place else (20, 32))
            there = slice(top, top + height), slice(left, left + width)
            np.testing.assert_array_equal(record["image"], image[there])
            np.testing.assert_array_equal(record["mask"], mask[there])
    assert sum(splits.values()) == 25  # 3 x 4 of each scene, and the picture
    assert all(len(split) == 1 for split in seen.values())


def listing_of(folder, *names):
    pairs = [
        Pair(WHOLE, name, folder / f"images/{name}.tif", folder / f"masks/{name}.tif")
        for name in names
    ]
    return Listing({WHOLE: pairs}, [])


def test_windows_of_the_only_scene_may_part_if_they_share_nothing(scenes):
    one, two = listing_of(scenes, "a"), listing_of(scenes, "a", "b")
    for listing, overlap, groups in (
        (one, 0.0, {""}),
        (one, 0.5, {"a"}),
        (two, 0.0, {"a", "b"}),
    ):
        found = cuts.cut(listing, 32, overlap, colors=False)
        assert {pair.group for pair in found.pairs} == groups
        rows = sorted({pair.image.rows for pair in found.pairs})
        step = 16 if overlap else 32
        begins = [begin for begin, _ in rows]
        assert begins == [*range(0, 38, step), 38]
        assert all(end - begin == 32 for begin, end in rows)


def test_windows_in_which_nothing_is_stored_are_left_out(scenes):
    path = scenes / "images" / "a.tif"
    tiles = iter([np.full((16, 16, 3), 9, np.uint8), *[None] * 34])
    settings = {"shape": (70, 100, 3), "dtype": np.uint8, "photometric": "rgb"}
    nodata = {"extratags": [(42113, "s", 0, "0", True)]}
    tifffile.imwrite(path, tiles, tile=(16, 16), metadata=None, **settings, **nodata)
    found = cuts.cut(listing_of(scenes, "a"), 32, 0.0, colors=False)
    assert [pair.name for pair in found.pairs] == ["a_0_0"]
    (finding,) = found.findings
    assert finding.message == "11 windows in which nothing is stored: left out"


def test_a_mask_keeps_the_value_that_is_no_data(scenes):
    mask = np.where(MASK == 2, 255, MASK)
    nodata = {"extratags": [(42113, "s", 0, "255", True)]}
    tifffile.imwrite(scenes / "masks" / "a.tif", mask, **TILES, **nodata)
    found = cuts.cut(listing_of(scenes, "a"), 64, 0.0, colors=False)
    values = found.pairs[0].mask.values()
    np.testing.assert_array_equal(values, mask[:64, :64])


def test_masks_that_do_not_fit_are_named(scenes, capsys):
    tifffile.imwrite(scenes / "masks" / "a.tif", MASK[:, :90], **TILES)
    assert prepare(scenes, "--cut", "32", "--val-fraction", "0.4") == 2
    line = capsys.readouterr().err
    assert "masks/a.tif: mask is 70x90, image is 70x100 (height x width)" in line
    assert not (scenes / "data" / "fields").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--cut", "0"], "--cut 0: expected 1 to 32766 pixels"),
        (["--cut", "32", "--cut-overlap", "1"], "--cut-overlap 1: expected 0 up to"),
        (["--cut-overlap", "0.5"], "--cut-overlap: expected --cut N beside it"),
    ],
)
def test_what_cannot_be_cut_is_one_line(scenes, capsys, options, message):
    assert prepare(scenes, *options) == 2
    captured = capsys.readouterr()
    assert message in captured.err and captured.err.count("\n") == 1


def test_a_side_of_nothing_is_refused(scenes):
    with pytest.raises(UserError, match="--cut -1"):
        cuts.cut(listing_of(scenes, "a"), -1, 0.0, colors=False)
