"""The embedded data set: the same pixels for ever, and as hard as it is meant to be."""

import numpy as np
import pytest
from ml_collections import ConfigDict

from resseg.config import base
from resseg.data import VOID, shapes, sources
from resseg.errors import UserError


@pytest.fixture
def data(tmp_path) -> ConfigDict:
    data = base.get_config().data
    data.dir = str(tmp_path)
    data.shapes.train_images, data.shapes.val_images = 6, 3
    return data


@pytest.fixture(scope="module")
def masks() -> np.ndarray:
    settings = base.get_config().data.shapes
    return np.stack([shapes.draw(settings, "train", i)["mask"] for i in range(200)])


def test_an_image_follows_from_seed_split_and_index_alone():
    settings = base.get_config().data.shapes
    later = shapes.draw(settings, "train", 5)
    shapes.draw(settings, "train", 0)
    again = shapes.draw(settings, "train", 5)
    assert np.array_equal(later["image"], again["image"])
    assert np.array_equal(later["mask"], again["mask"])
    other_split = shapes.draw(settings, "val", 5)
    settings.seed = 1
    other_seed = shapes.draw(settings, "train", 5)
    assert not np.array_equal(later["image"], other_split["image"])
    assert not np.array_equal(later["image"], other_seed["image"])


def test_every_class_occurs_one_is_rare_and_some_pixels_are_void(masks):
    share = np.bincount(masks.ravel(), minlength=256) / masks.size
    classes = len(shapes.CLASSES)
    assert share[classes:VOID].sum() == 0
    star = shapes.CLASSES.index("star")
    assert 0.001 < share[star] <= 0.01
    assert (share[1:star] > 0.03).all()
    assert 0.01 < share[VOID] < 0.03


def test_wires_are_thin(masks):
    wire = masks == shapes.CLASSES.index("wire")
    padded = np.pad(wire, ((0, 0), (4, 4), (4, 4)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (9, 9), axis=(1, 2))
    solid = windows.all(axis=(3, 4))
    assert wire.sum() > 10_000
    assert solid.sum() < 0.001 * wire.sum()


def test_difficulty_zero_tells_classes_by_colour_and_one_does_not():
    def spread(difficulty: float) -> float:
        """Deviation of an object's colour within its class, over that between them."""
        settings = base.get_config().data.shapes
        settings.difficulty = difficulty
        colors = {1: [], 2: [], 3: [], 4: []}
        for index in range(60):
            scene = shapes.draw(settings, "train", index)
            for label, found in colors.items():
                inside = scene["mask"] == label
                if inside.sum() > 100:
                    found.append(scene["image"][inside].mean(axis=0))
        within = np.mean([np.std(found, axis=0) for found in colors.values()])
        between = np.std([np.mean(found, axis=0) for found in colors.values()], axis=0)
        return within / between.mean()

    assert spread(0.0) < 0.6
    assert spread(1.0) > 2.0


def test_the_data_set_on_disk_holds_what_draw_draws(data):
    spec = sources.dataset_spec(data)
    assert spec.classes == shapes.CLASSES
    assert spec.splits == {"train": 6, "val": 3}
    source = sources.open_split(data, "val")
    for index in range(3):
        stored, drawn = source[index], shapes.draw(data.shapes, "val", index)
        assert stored["name"] == drawn["name"]
        assert np.array_equal(stored["image"], drawn["image"])
        assert np.array_equal(stored["mask"], drawn["mask"])


def test_it_is_said_where_the_data_set_is_drawn_and_only_then(data, capsys):
    folder = shapes.prepare(data)
    assert capsys.readouterr().err == f"drawing data set shapes into {folder}\n"
    shapes.prepare(data)
    assert capsys.readouterr().err == ""


def test_other_settings_lie_in_another_folder(data):
    first = shapes.prepare(data)
    written = (first / "dataset_info.json").stat().st_mtime_ns
    data.shapes.size = (64, 80)
    second = shapes.prepare(data)
    assert second != first
    assert sources.open_split(data, "train")[0]["image"].shape == (64, 80, 3)
    data.shapes.size = (96, 128)
    assert shapes.prepare(data) == first
    assert (first / "dataset_info.json").stat().st_mtime_ns == written


def test_losing_a_race_for_the_folder_is_no_error(data, monkeypatch):
    write = shapes.write_dataset

    def written_twice(*arguments, **options):
        write(*arguments, **options)
        return write(*arguments, **options)

    monkeypatch.setattr(shapes, "write_dataset", written_twice)
    assert sources.dataset_spec(data).splits["train"] == 6


@pytest.mark.parametrize(
    ("key", "value"),
    [("difficulty", 1.5), ("train_images", 0), ("size", (8, 128)), ("seed", -1)],
)
def test_a_setting_out_of_range_is_named(data, key, value):
    data.shapes[key] = value
    with pytest.raises(UserError, match=rf"config\.data\.shapes\.{key}="):
        sources.dataset_spec(data)
