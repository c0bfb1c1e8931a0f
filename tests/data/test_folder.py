"""From image and mask files to a prepared data set that reads back the same."""

import numpy as np
import pytest
import tensorflow_datasets as tfds
from ml_collections import ConfigDict
from PIL import Image

from resseg.data import VOID, folder, pairs, reading, sources
from resseg.data.mask_rule import MaskRule
from resseg.errors import UserError

CLASSES = ("background", "cell")


def _picture(seed=0, height=6, width=9):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def _mask(height=6, width=9):
    mask = np.zeros((height, width), np.uint8)
    mask[1:3, 2:5] = 1
    return mask


def _write(root, names, height=6, width=9):
    """`images` and `masks` below root, one picture of its own per name."""
    (root / "images").mkdir(parents=True)
    (root / "masks").mkdir()
    for name in names:
        picture = Image.fromarray(_picture(sum(name.encode()), height, width))
        picture.save(root / "images" / f"{name}.png")
        Image.fromarray(_mask(height, width)).save(root / "masks" / f"{name}.png")
    return root


def _two_splits(root):
    _write(root / "train", ("a", "b"))
    _write(root / "val", ("c",))
    return pairs.scan_folder(root)


def _data(data_dir, name="cells"):
    return ConfigDict({"name": name, "dir": str(data_dir)})


# Reading files


def _kinds():
    picture = _picture()
    grey = picture[..., 0]
    palette = Image.fromarray(picture).quantize(8)
    return {
        "grey": (Image.fromarray(grey), np.repeat(grey[..., None], 3, 2)),
        "rgb": (Image.fromarray(picture), picture),
        "rgba": (Image.fromarray(np.dstack([picture, grey])), picture),
        "palette": (palette, np.array(palette.convert("RGB"))),
        "black-white": (
            Image.fromarray(grey > 99),
            np.repeat(np.where(grey > 99, 255, 0).astype(np.uint8)[..., None], 3, 2),
        ),
    }


@pytest.mark.parametrize("kind", _kinds())
def test_every_kind_of_image_becomes_rgb(tmp_path, kind):
    image, expected = _kinds()[kind]
    image.save(tmp_path / "image.png")
    assert (reading.load_image(tmp_path / "image.png").upright_rgb() == expected).all()
    assert reading.stored_as_is(tmp_path / "image.png") == (kind in ("grey", "rgb"))


def test_orientation_is_applied_to_the_image(tmp_path):
    path = tmp_path / "turned.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6  # stored lying on its left side
    picture = np.zeros((16, 32, 3), np.uint8)
    picture[:, :8] = 255
    Image.fromarray(picture).save(path, exif=exif, quality=95)
    upright = reading.load_image(path).upright_rgb()
    assert upright.shape == (32, 16, 3)
    assert upright[:6].min() > 200 and upright[10:].max() < 50
    assert not reading.stored_as_is(path)


def test_cut_file_is_an_error(tmp_path):
    path = tmp_path / "cut.jpg"
    Image.fromarray(_picture(0, 64, 64)).save(path)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(UserError, match=r"cut\.jpg: cannot be read"):
        reading.load_image(path).upright_rgb()


# Splits


def test_fraction_draws_the_same_pairs_for_the_same_seed(tmp_path):
    root = _write(tmp_path, [f"n{i}" for i in range(10)])
    listing = pairs.scan_pairs(root / "images", root / "masks")
    drawn = [
        [
            pair.name
            for pair in pairs.split_by_fraction(listing, 0.3, seed).splits["val"]
        ]
        for seed in (0, 0, 1)
    ]
    assert drawn[0] == drawn[1] != drawn[2]
    assert len(drawn[0]) == 3
    splits = pairs.split_by_fraction(listing, 0.3, 0).splits
    assert len({pair.name for kept in splits.values() for pair in kept}) == 10
    assert list(pairs.split_by_fraction(listing, 0.0, 0).splits) == ["train"]
    for fraction in (1.0, -0.1, 0.01):
        with pytest.raises(UserError, match=f"--val-fraction {fraction}"):
            pairs.split_by_fraction(listing, fraction, 0)


def test_split_file_places_pairs_and_reports_the_rest(tmp_path):
    root = _write(tmp_path, ("a", "b", "c"))
    listing = pairs.scan_pairs(root / "images", root / "masks")
    table = tmp_path / "split.csv"
    table.write_text("name,split,camera\nb.png,val,1\na,train,2\n")
    placed = pairs.split_by_file(listing, table)
    names = {
        split: [pair.name for pair in kept] for split, kept in placed.splits.items()
    }
    assert names == {"train": ["a"], "val": ["b"]}
    assert [item.message for item in placed.findings] == [f"not in {table}: left out"]
    table.write_text("name,split\na,train\nbb,val\n")
    with pytest.raises(UserError, match=r"line 3: no pair named 'bb' \(did you"):
        pairs.split_by_file(listing, table)
    table.write_text("name,split\na,train\na,val\n")
    with pytest.raises(UserError, match="line 3: 'a' is named twice"):
        pairs.split_by_file(listing, table)
    table.write_text("name,part\na,train\n")
    with pytest.raises(UserError, match=r"no column 'split'.*it has name, part"):
        pairs.split_by_file(listing, table)


# Preparing


def test_prepared_set_reads_back_the_files(tmp_path):
    listing = _two_splits(tmp_path / "in")
    report = folder.prepare("cells", listing, CLASSES, data_dir=tmp_path / "data")
    assert report.findings == []
    data = _data(tmp_path / "data")
    spec = sources.dataset_spec(data)
    assert spec.classes == CLASSES and spec.splits == {"train": 2, "val": 1}
    source = sources.open_split(data, "train")
    for index, pair in enumerate(listing.splits["train"]):
        record = source[index]
        assert record["name"] == pair.name
        assert (record["image"] == np.array(Image.open(pair.image))).all()
        assert (record["mask"] == _mask()).all()


def test_jpeg_and_png_are_stored_byte_for_byte(tmp_path):
    listing = _two_splits(tmp_path / "in")
    first = listing.splits["train"][0]
    jpeg = first.image.with_suffix(".jpg")
    Image.open(first.image).save(jpeg)
    first.image.unlink()
    listing = pairs.scan_folder(tmp_path / "in")
    folder.prepare("cells", listing, CLASSES, data_dir=tmp_path / "data")
    skip = tfds.decode.SkipDecoding()
    builder = tfds.builder_from_directory(str(tmp_path / "data/cells/1.0.0"))
    stored = builder.as_data_source("train", decoders={"image": skip, "mask": skip})
    for record, pair in zip(stored, listing.splits["train"], strict=True):
        assert record["image"] == pair.image.read_bytes()
        assert record["mask"] == pair.mask.read_bytes()


def test_odd_files_are_stored_as_read(tmp_path):
    _write(tmp_path / "train", ("a",), 1, 37)
    deep = (np.arange(37, dtype=np.uint16) * 100)[None]  # 12 bits
    Image.fromarray(deep).save(tmp_path / "train/images/a.png")
    mask = Image.fromarray(np.full((1, 37), 7, np.uint8)).convert("P")
    mask.putpixel((5, 0), 1)
    mask.putpixel((6, 0), 0)
    mask.save(tmp_path / "train/masks/a.png")
    listing = pairs.scan_folder(tmp_path)
    report = folder.prepare(
        "cells", listing, CLASSES, MaskRule(void=7), tmp_path / "data"
    )
    record = sources.open_split(_data(tmp_path / "data"), "train")[0]
    assert report.bits == 12
    assert record["image"][0, 36].tolist() == [round(3600 * 255 / 4095)] * 3
    assert record["mask"][0, 4:8].tolist() == [VOID, 1, 0, VOID]


def test_nothing_is_written_where_a_file_is_wrong(tmp_path):
    listing = _two_splits(tmp_path / "in")
    broken = listing.splits["val"][0].mask
    Image.fromarray(_mask() * 7).save(broken)
    with pytest.raises(UserError) as caught:
        folder.prepare("cells", listing, CLASSES, data_dir=tmp_path / "data")
    expected = f"{broken}: holds 7 (6 px); classes are 0 to 1, 255 is void"
    assert str(caught.value) == expected
    assert not (tmp_path / "data").exists()

    (tmp_path / "in/train/masks/a.png").write_bytes(b"")
    with pytest.raises(
        UserError, match=r"a\.png: cannot be read.*1 more error"
    ) as caught:
        folder.prepare("cells", listing, CLASSES, data_dir=tmp_path / "data")
    assert "\n" not in str(caught.value)


def test_a_taken_name_is_refused_until_overwrite(tmp_path):
    listing = _two_splits(tmp_path / "in")
    folder.prepare("cells", listing, CLASSES, data_dir=tmp_path)
    with pytest.raises(UserError, match=r"cells: exists; add --overwrite"):
        folder.prepare("cells", listing, ("x", "y"), data_dir=tmp_path)
    assert sources.dataset_spec(_data(tmp_path)).classes == CLASSES
    folder.prepare("cells", listing, ("x", "y"), data_dir=tmp_path, overwrite=True)
    assert sources.dataset_spec(_data(tmp_path)).classes == ("x", "y")


@pytest.mark.parametrize("name", ["Cells", "2d", "my-cells", "shapes", "cityscapes"])
def test_unusable_names(tmp_path, name):
    with pytest.raises(UserError, match=f"NAME='{name}'"):
        folder.require_free(name, tmp_path, overwrite=True)
