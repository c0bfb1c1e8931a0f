"""Data sets on disk: complete or absent, found or explained."""

import os
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import picture_files
import pytest
import tensorflow_datasets as tfds
from ml_collections import ConfigDict
from PIL import Image

from resseg.config import base
from resseg.data import VOID, DatasetSpec, colorize, overlay, palette, sources
from resseg.data.counts import median_frequency_weights
from resseg.data.writing import dataset_folder
from resseg.errors import UserError

CLASSES = ("ground", "cell", "edge")


@pytest.fixture
def data(tmp_path) -> ConfigDict:
    data = base.get_config().data
    data.name, data.dir = "cells", str(tmp_path / "data")
    return data


def record(index: int, height: int = 24, width: int = 30) -> dict:
    rng = np.random.default_rng(index)
    mask = rng.integers(0, 3, (height, width), dtype=np.uint8)
    mask[0] = VOID
    image = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    return {"image": image, "mask": mask, "name": f"cell_{index}"}


def write(data, count: int = 5, **options) -> DatasetSpec:
    splits = {
        "train": lambda: (record(index) for index in range(count)),
        "val": lambda: (record(index + 100, 16 + index) for index in range(2)),
    }
    return sources.write_dataset(data.dir, data.name, CLASSES, splits, **options)


def test_a_good_data_set_survives_what_cannot_replace_it(data, monkeypatch):
    write(data)
    with pytest.raises(UserError, match="data set cells: has no split"):
        sources.write_dataset(data.dir, data.name, CLASSES, {}, overwrite=True)

    def refuse(source, target):
        raise OSError(28, "No space left on device", str(target))

    monkeypatch.setattr(os, "rename", refuse)
    with pytest.raises(OSError, match="No space left"):
        write(data, 3, overwrite=True)
    assert [path.name for path in Path(data.dir).iterdir()] == ["cells"]
    source = sources.open_split(data, "train")
    assert len(source) == 5
    assert np.array_equal(source[4]["mask"], record(4)["mask"])


def test_what_is_written_is_read_in_the_same_order(data):
    spec = write(data, 12)
    assert spec == DatasetSpec("cells", CLASSES, {"train": 12, "val": 2})
    assert sources.dataset_spec(data) == spec
    assert spec.num_classes == 3
    source = sources.open_split(data, "train")
    assert len(source) == 12
    for index in (11, *range(12)):
        expected, found = record(index), source[index]
        assert found["name"] == expected["name"]
        assert np.array_equal(found["image"], expected["image"])
        assert np.array_equal(found["mask"], expected["mask"])
    with pytest.raises(IndexError):
        source[12]


def test_files_are_stored_byte_for_byte(data, tmp_path):
    example = record(0)
    jpeg, png = tmp_path / "a.jpg", tmp_path / "a.png"
    cv2.imwrite(str(jpeg), example["image"])
    cv2.imwrite(str(png), example["mask"])
    stored = {"image": jpeg, "mask": png.read_bytes(), "name": "a"}
    sources.write_dataset(data.dir, "cells", CLASSES, {"train": lambda: [stored]})
    builder = tfds.builder_from_directory(str(dataset_folder(data.dir, "cells")))
    skip = tfds.decode.SkipDecoding()
    raw = builder.as_data_source("train", decoders={"image": skip, "mask": skip})[0]
    assert raw["image"] == jpeg.read_bytes()
    assert raw["mask"] == png.read_bytes()
    decoded = cv2.cvtColor(cv2.imread(str(jpeg)), cv2.COLOR_BGR2RGB)
    assert np.array_equal(sources.open_split(data, "train")[0]["image"], decoded)


def test_tfds_alone_reads_the_data_set(data):
    write(data)
    builder = tfds.builder_from_directory(str(dataset_folder(data.dir, "cells")))
    found = builder.as_data_source("train")[2]
    assert np.array_equal(found["image"], record(2)["image"])
    assert np.array_equal(found["mask"][..., 0], record(2)["mask"])
    assert found["name"] == b"cell_2"


def test_a_source_is_for_threads_and_for_other_processes(data):
    write(data, 20)
    source = sources.open_split(data, "train")
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda index: source[index]["mask"], [*range(20)] * 3))
    for index, mask in enumerate(found):
        assert np.array_equal(mask, record(index % 20)["mask"])
    copy = pickle.loads(pickle.dumps(source))
    assert np.array_equal(copy[7]["image"], record(7)["image"])


def _interrupted():
    yield record(0)
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("records", "error", "message"),
    [
        (_interrupted, KeyboardInterrupt, None),
        (lambda: [], UserError, "split 'val' is empty"),
        (
            lambda: [record(0) | {"mask": np.full((24, 30), 7, np.uint8)}],
            UserError,
            "mask of 'cell_0' holds index 7; expected 0 to 2, or 255 for void",
        ),
        (
            lambda: [record(0) | {"mask": np.zeros((24, 31), np.uint8)}],
            UserError,
            "'cell_0': image is 30 x 24 and mask 31 x 24 pixels",
        ),
        (
            lambda: [record(0) | {"image": b"\x89PNG\r\n\x1a\n and no more"}],
            UserError,
            "image of 'cell_0': cannot be read as PNG .damaged",
        ),
        (
            lambda: [record(0) | {"image": _deep_png()}],
            UserError,
            "image of 'cell_0': PNG, RGB, 16 bits, deflate, orientation 1; expected",
        ),
        (
            lambda: [record(0) | {"image": _turned_png("RGB")}],
            UserError,
            "image of 'cell_0': PNG, RGB, 8 bits, deflate, orientation 6; expected",
        ),
        (
            lambda: [record(0) | {"mask": _turned_png("L")}],
            UserError,
            "mask of 'cell_0': not an 8-bit grey PNG, upright",
        ),
        (
            lambda: [record(0) | {"image": b"GIF89a"}],
            UserError,
            "image of 'cell_0': neither PNG nor JPEG",
        ),
        (
            lambda: [record(0) | {"mask": _palette_png()}],
            UserError,
            "mask of 'cell_0': not an 8-bit grey PNG",
        ),
        (
            lambda: [record(0) | {"mask": np.zeros((24, 30), np.int64)}],
            UserError,
            "mask of 'cell_0': array is int64",
        ),
    ],
)
def test_a_preparation_that_fails_leaves_nothing(data, records, error, message):
    splits = {"train": lambda: [record(1)], "val": records}
    with pytest.raises(error, match=message):
        sources.write_dataset(data.dir, "cells", CLASSES, splits)
    assert [path for path in Path(data.dir).rglob("*") if path.is_file()] == []
    with pytest.raises(UserError, match="not prepared"):
        sources.dataset_spec(data)


def _palette_png() -> bytes:
    return picture_files.encoded(Image.new("P", (30, 24)), format="PNG")


def _deep_png() -> bytes:
    return picture_files.png(np.zeros((24, 30, 3), np.uint16), "RGB", 16)


def _turned_png(mode: str) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return picture_files.encoded(Image.new(mode, (30, 24)), format="PNG", exif=exif)


def test_an_existing_data_set_is_replaced_only_when_asked(data):
    write(data)
    with pytest.raises(UserError, match=r"cells/1\.0\.0: exists already"):
        write(data, 7)
    assert sources.dataset_spec(data).splits["train"] == 5
    write(data, 7, overwrite=True)
    assert sources.dataset_spec(data).splits["train"] == 7
    assert len(sources.open_split(data, "train")) == 7
    assert sorted(path.name for path in Path(data.dir).iterdir()) == ["cells"]


def test_a_name_must_be_usable(data):
    data.name = "My Cells"
    with pytest.raises(UserError, match="'My Cells': expected lower-case letters"):
        write(data)


def test_a_data_set_that_is_not_prepared_says_the_command(data):
    write(data)
    data.name = "cell"
    with pytest.raises(UserError) as caught:
        sources.dataset_spec(data)
    assert str(caught.value) == (
        f"config.data.name='cell': not prepared in {data.dir}; run: resseg data "
        f"prepare cell --dir {data.dir} --images DIR --masks DIR --classes NAMES "
        "(did you mean 'cells'?)"
    )
    assert sources.prepared(data.dir) == ["cells"]


def test_an_unknown_split_names_the_splits(data):
    write(data)
    with pytest.raises(UserError, match=r"choose from train, val \(did you mean 'val"):
        sources.open_split(data, "vla")


def test_lost_records_are_noticed_on_opening(data):
    write(data)
    info = dataset_folder(data.dir, "cells") / "dataset_info.json"
    text = info.read_text()
    assert '"5"' in text
    info.write_text(text.replace('"5"', '"4"'))
    with pytest.raises(UserError, match="split 'train' holds 4 images"):
        sources.open_split(data, "train")


def _cut_in_half(folder):
    for file in folder.glob("*train.array_record*"):
        os.truncate(file, file.stat().st_size // 2)


def _cut_the_end(folder):
    for file in folder.glob("*train.array_record*"):
        os.truncate(file, file.stat().st_size - 100)


def _empty_records(folder):
    for file in folder.glob("*train.array_record*"):
        os.truncate(file, 0)


def _no_description(folder):
    (folder / "dataset_info.json").unlink()


def _broken_description(folder):
    os.truncate(folder / "dataset_info.json", 90)


def _no_features(folder):
    (folder / "features.json").unlink()


def _broken_names(folder):
    os.truncate(folder / "resseg.json", 30)


def _names_of_another_form(folder):
    (folder / "resseg.json").write_text("[]")


@pytest.mark.parametrize(
    ("damage", "file"),
    [
        (_cut_in_half, "cells-train.array_record-00000-of-00001"),
        (_cut_the_end, "cells-train.array_record-00000-of-00001"),
        (_empty_records, "cells-train.array_record-00000-of-00001"),
        (_no_description, "dataset_info.json"),
        (_broken_description, "dataset_info.json or features.json"),
        (_no_features, "features.json"),
        (_broken_names, "resseg.json"),
        (_names_of_another_form, "resseg.json"),
    ],
)
def test_damage_is_noticed_on_opening_and_names_the_file(data, damage, file):
    write(data)
    folder = dataset_folder(data.dir, "cells")
    damage(folder)
    with pytest.raises(UserError) as caught:
        sources.open_split(data, "train")
    message = str(caught.value)
    assert message.startswith(f"{folder / file}: damaged (")
    assert "prepare the data set again" in message and "\n" not in message


def test_what_the_system_refuses_to_read_is_not_called_damaged(data):
    write(data)
    (file,) = dataset_folder(data.dir, "cells").glob("*train.array_record*")
    file.unlink()
    file.mkdir()
    with pytest.raises(UserError) as caught:
        sources.open_split(data, "train")
    assert str(caught.value) == f"{file}: cannot be read: Is a directory"


def test_damage_further_on_is_noticed_when_it_is_read(data):
    """Not before: reading all of a data set first would take too long."""
    write(data, 5)
    folder = dataset_folder(data.dir, "cells")
    (file,) = folder.glob("*train.array_record*")
    content = bytearray(file.read_bytes())
    at = content.index(b"cell_3")
    content[at : at + 6] = b"______"
    file.write_bytes(content)
    source = sources.open_split(data, "train")
    assert source[2]["name"] == "cell_2"
    with pytest.raises(UserError, match=r"array_record-.*: damaged"):
        source[3]


def test_counts_are_those_of_the_masks(data):
    write(data)
    found = sources.count_split(data, "val")
    assert found.sizes.tolist() == [[16, 30], [17, 30]]
    for index in range(2):
        mask = record(index + 100, 16 + index)["mask"]
        assert found.pixels[index].tolist() == [(mask == c).sum() for c in range(3)]
        assert found.void[index] == 30
    stored = dataset_folder(data.dir, "cells") / "counts-val.npz"
    stored.write_bytes(b"broken")
    again = sources.count_split(data, "val")
    assert np.array_equal(again.pixels, found.pixels)
    assert stored.read_bytes() != b"broken"


def test_median_frequency_weights_are_those_of_the_paper():
    # Class 0 in both images, class 1 in the second alone, class 2 nowhere.
    pixels = np.array([[100, 0, 0], [60, 40, 0]])
    frequency = np.array([160 / 200, 40 / 100])
    expected = np.median(frequency) / frequency
    found = median_frequency_weights(pixels)
    assert found.dtype == np.float32
    assert np.allclose(found, [*expected, 1.0])
    assert np.allclose(median_frequency_weights(np.array([30, 10])), [2 / 3, 2.0])


def test_colours_are_distinct_and_void_is_black():
    colors = palette(150)
    assert len({tuple(color) for color in colors.tolist()}) == 150
    assert (colors.sum(axis=1) > 60).all()
    assert np.array_equal(palette(150)[:5], palette(5))
    painted = colorize(np.array([[0, 2, VOID, 9]], np.uint8), 3)
    assert painted.tolist() == [[*palette(3)[[0, 2]].tolist(), [0] * 3, [255, 0, 255]]]
    image = np.full((1, 1, 3), 100, np.uint8)
    blended = overlay(image, np.array([[1]], np.uint8), 3, alpha=0.25)
    assert np.array_equal(blended[0, 0], np.rint(75 + 0.25 * palette(3)[1]))


def test_neither_tensorflow_nor_a_device_is_touched(data):
    write(data)
    code = f"""
import sys
from resseg.config import base
from resseg.data import pipeline, sources

data = base.get_config().data
data.dir, data.name, data.batch_size = {data.dir!r}, "cells", 2
next(pipeline.TrainLoader(data, 0))
list(pipeline.eval_batches(data, "val", 8))
data.name, data.shapes.train_images, data.shapes.val_images = "shapes", 1, 1
sources.open_split(data, "val")[0]
assert "tensorflow" not in sys.modules
# grain imports jax for its trees; only a backend would mean a device.
bridge = sys.modules.get("jax._src.xla_bridge")
assert bridge is None or not bridge._backends
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_images_that_stand_in_two_splits_are_named(tmp_path):
    def records(numbers):
        for number in numbers:
            image = np.full((8, 8, 3), number, np.uint8)
            mask = np.zeros((8, 8), np.uint8)
            yield {"image": image, "mask": mask, "name": f"n{number}"}

    splits = {"train": lambda: records((1, 2, 3)), "val": lambda: records((4, 3, 1))}
    sources.write_dataset(str(tmp_path), "twice", ("a", "b"), splits)
    data = base.get_config().data
    data.name, data.dir = "twice", str(tmp_path)
    for _ in range(2):  # counted, then read from what was kept
        assert sources.shared_images(data, "val", data, "train") == ["n3", "n1"]
    (kept,) = tmp_path.rglob("images-val.sha256")
    assert len(kept.read_text().split()) == 3
    kept.write_text("damaged\n")
    assert sources.shared_images(data, "val", data, "train") == ["n3", "n1"]


def all_void(index: int) -> dict:
    return {**record(index), "mask": np.full((24, 30), VOID, np.uint8)}


def test_a_split_without_a_label_is_known_without_counting(data, monkeypatch):
    splits = {
        "train": lambda: (all_void(index) for index in range(2)),
        "val": lambda: (record(index) for index in range(2)),
    }
    sources.write_dataset(data.dir, data.name, CLASSES, splits)
    monkeypatch.setattr(sources.counts, "count", None)
    assert sources.is_unlabelled(data, "train")
    assert not sources.is_unlabelled(data, "val")
    for kept in dataset_folder(data.dir, "cells").glob("counts-*"):
        kept.unlink()
    assert not sources.is_unlabelled(data, "train")  # nobody has looked


def test_a_fingerprint_is_of_the_contents_and_what_is_said_of_them(data):
    write(data)
    known = sources.fingerprint(data, ("train", "val"))
    assert known["classes"] == list(CLASSES) and known["splits"]["train"] == 5
    assert known["void"] == VOID and known["bits"] == 8
    folder = dataset_folder(data.dir, "cells")
    for kept in folder.glob("contents-*"):  # as data sets of before
        kept.unlink()
    assert sources.fingerprint(data, ("train", "val")) == known
    assert len(list(folder.glob("contents-*"))) == 2
    write(data, overwrite=True)
    assert sources.fingerprint(data, ("train", "val")) == known
    changed = {
        "mask": lambda r: {**r, "mask": np.where(r["mask"] == 1, 2, r["mask"])},
        "image": lambda r: {**r, "image": r["image"] ^ 1},
        "name": lambda r: {**r, "name": f"{r['name']}x"},
    }
    for change in changed.values():
        splits = {
            "train": lambda: (record(index) for index in range(5)),
            "val": lambda change=change: (
                change(record(index + 100, 16 + index)) for index in range(2)
            ),
        }
        sources.write_dataset(data.dir, data.name, CLASSES, splits, overwrite=True)
        now = sources.fingerprint(data, ("train", "val"))
        assert now["contents"]["train"] == known["contents"]["train"]
        assert now["contents"]["val"] != known["contents"]["val"]
