"""Broken input as a user meets it: one clear line, exit status 2, nothing written."""

import os

import cv2
import numpy as np
import pytest

import resseg
from resseg import runs
from resseg.cli.main import main
from resseg.data import sources

CLASSES = ("ground", "plant", "weed")


@pytest.fixture
def files(tmp_path):
    """Six pairs of image and mask in `images` and `masks`."""
    rng = np.random.default_rng(0)
    for i in range(6):
        write(tmp_path, "images", i, rng.integers(0, 255, (24, 32, 3), np.uint8))
        write(tmp_path, "masks", i, rng.integers(0, 3, (24, 32), np.uint8))
    return tmp_path


def write(root, folder, index, pixels):
    (root / folder).mkdir(exist_ok=True)
    cv2.imwrite(str(root / folder / f"p{index}.png"), pixels)


def prepare(files):
    return [
        *("data", "prepare", "plants", "--dir", str(files / "data")),
        *("--images", str(files / "images"), "--masks", str(files / "masks")),
        *("--classes", ",".join(CLASSES)),
    ]


def training(files, **overrides):
    """A command line that trains on the prepared pairs."""
    settings = {"data.name": "plants", "data.dir": files / "data"} | overrides
    keys = [f"--config.{key}={value}" for key, value in settings.items()]
    call = ["train", "--config", "configs/quickstart.py"]
    return [*call, "--workdir", str(files / "run"), *keys]


def prepared(files, count=6):
    def examples():
        for i in range(count):
            pixels = np.full((24, 32, 3), i, np.uint8)
            mask = np.zeros((24, 32), np.uint8)
            yield {"image": pixels, "mask": mask, "name": f"p{i}"}

    splits = {"train": examples, "val": examples}
    sources.write_dataset(files / "data", "plants", CLASSES, splits)


def typo_in_the_config(files):
    return training(files, **{"optim.learning_rat": 0.1})


def missing_folder(files):
    call = prepare(files)
    call[call.index("--images") + 1] = str(files / "imagse")
    return call


def data_set_that_is_not_prepared(files):
    return training(files)


def mask_with_id_7_of_3_classes(files):
    write(files, "masks", 2, np.full((24, 32), 7, np.uint8))
    return prepare(files)


def mask_in_black_and_white(files):
    for i in range(6):
        mask = np.zeros((24, 32), np.uint8)
        mask[:8] = 255
        write(files, "masks", i, mask)
    call = prepare(files)
    call[-1] = "ground,plant"
    return call


def sizes_that_differ(files):
    write(files, "masks", 4, np.zeros((24, 30), np.uint8))
    return prepare(files)


def unreadable_png(files):
    path = files / "images" / "p3.png"
    path.write_bytes(path.read_bytes()[:200])
    return prepare(files)


def empty_split(files):
    table = files / "split.csv"
    rows = [f"train,p{i}" for i in range(6)]
    table.write_text("\n".join(["split,name", *rows]) + "\n")
    prepared(files)
    return training(files, **{"data.eval_split": "test"})


def workdir_of_another_config(files):
    prepared(files)
    settings = {"data.name": "plants", "data.dir": str(files / "data"), "seed": 3}
    config = resseg.load_config("configs/quickstart.py", settings)
    runs.write_config(runs.prepare(files / "run"), config)
    return training(files, **{"data.batch_size": 4})


def records_that_are_cut_short(files):
    prepared(files)
    (file,) = (files / "data").rglob("plants-train.array_record*")
    os.truncate(file, 2000)
    return training(files, **{"data.batch_size": 4})


def more_devices_than_there_are(files):
    prepared(files)
    sizes = {"data.batch_size": 5, "data.eval_batch_size": 5}
    return training(files, **sizes, **{"mesh.data": 5})


def no_write_permission(files):
    prepared(files)
    call = training(files, **{"data.batch_size": 4})
    # Not even root may make a folder below a file.
    call[call.index("--workdir") + 1] = str(files / "images" / "p0.png" / "run")
    return call


def fewer_images_than_the_batch(files):
    prepared(files)
    return training(files, **{"data.batch_size": 16})


def crop_that_the_network_cannot_divide(files):
    return training(files, **{"data.crop": "(100,128)"})


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        (typo_in_the_config, ["optim.learning_rat", "did you mean", "learning_rate"]),
        (missing_folder, ["imagse", "images"]),
        (data_set_that_is_not_prepared, ["config.data.name", "resseg data prepare"]),
        (mask_with_id_7_of_3_classes, ["p2.png", "holds 7", "0 to 2"]),
        (mask_in_black_and_white, ["255", "--binary"]),
        (sizes_that_differ, ["p4", "24x30", "24x32"]),
        (unreadable_png, ["p3.png"]),
        (empty_split, ["config.data.eval_split", "'test'", "train", "val"]),
        (
            workdir_of_another_config,
            ["run", "seed is 3 there and 0 here", "another config"],
        ),
        (records_that_are_cut_short, ["plants-train.array_record-0", "damaged"]),
        (more_devices_than_there_are, ["config.mesh.data=5: expected at most 4"]),
        (no_write_permission, ["--workdir", "p0.png"]),
        (fewer_images_than_the_batch, ["config.data.batch_size=16", "6 images"]),
        (crop_that_the_network_cannot_divide, ["config.data.crop", "16"]),
    ],
)
def test_one_clear_line_and_exit_status_2(files, capfd, broken, words):
    command = broken(files)
    before = sorted(files.rglob("*"))
    assert main(command) == 2
    captured = capfd.readouterr()
    lines = captured.err.strip().splitlines()
    assert len(lines) == 1, captured.err
    assert lines[0].startswith("resseg: error: ")
    for word in words:
        assert word in lines[0]
    assert sorted(files.rglob("*")) == before
