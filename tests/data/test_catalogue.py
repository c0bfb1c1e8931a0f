"""Catalogue adapters, on miniature copies with the catalogue's own features."""

import io
import pickle

import cv2
import numpy as np
import pytest
import tensorflow_datasets as tfds
from ml_collections import ConfigDict

from resseg.data import VOID, catalogue, sources
from resseg.errors import UserError


def _file(suffix, array):
    if array.ndim == 3:
        array = cv2.cvtColor(array, cv2.COLOR_RGB2BGR)
    return io.BytesIO(cv2.imencode(suffix, array)[1].tobytes())


def _flat(height, width, color):
    return np.full((height, width, 3), color, np.uint8)


def _prepare(name, data_dir, examples):
    """Prepares `{TFDS split: [example]}` as the catalogue's builder describes it."""
    name, _, config = name.partition("/")
    parent = tfds.builder_cls(name)

    class Miniature(parent, skip_registration=True):
        pkg_dir_path = parent.pkg_dir_path

        def _split_generators(self, dl_manager):
            return {
                split: self._generate_examples(records)
                for split, records in examples.items()
            }

        # The inherited one lists folders with TensorFlow.
        def _generate_examples(self, records):
            yield from enumerate(records)

    Miniature.name = name
    Miniature(
        data_dir=data_dir, config=config or None, file_format="array_record"
    ).download_and_prepare()


@pytest.fixture(scope="module")
def pets(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pets")

    def example(name, color):
        mask = np.full((8, 10), 2, np.uint8)
        mask[2:6, 3:7] = 3
        mask[3:5, 4:6] = 1
        return {
            "image": _file(".jpg", _flat(8, 10, color)),
            "label": 0,
            "species": 0,
            "file_name": f"{name}.jpg",
            "segmentation_mask": _file(".png", mask),
            "head_bbox": tfds.features.BBox(0.0, 0.0, 0.0, 0.0),
        }

    train = [example("beagle_2", (250, 10, 10)), example("pug_7", (10, 10, 250))]
    test = [example("sphynx_3", (10, 250, 10))]
    _prepare("oxford_iiit_pet", folder, {"train": train, "test": test})
    return folder


def test_pet_masks_start_at_zero(pets):
    entry = catalogue.find("oxford_iiit_pet")
    assert catalogue.spec(entry, pets).splits == {"train": 2, "val": 1}
    source = catalogue.open(entry, pets, "train")
    records = {source[i]["name"]: source[i] for i in range(len(source))}
    assert set(records) == {"beagle_2", "pug_7"}
    red = records["beagle_2"]
    assert entry.classes[red["mask"][3, 4]] == "pet"
    assert entry.classes[red["mask"][2, 3]] == "border"
    assert entry.classes[red["mask"][0, 0]] == "background"
    assert red["image"].shape == (8, 10, 3)
    assert red["image"][0, 0, 0] > 200 > 50 > red["image"][0, 0, 2]  # RGB, not BGR


def test_pet_opens_through_the_config(pets):
    data = ConfigDict({"name": "oxford_iiit_pet", "dir": str(pets)})
    assert sources.dataset_spec(data).classes == ("pet", "background", "border")
    assert sources.open_split(data, "val")[0]["name"] == "sphynx_3"
    with pytest.raises(UserError, match=r"'vall'.*train, val \(did you mean 'val'"):
        sources.open_split(data, "vall")


def test_source_travels_between_processes(pets):
    source = catalogue.open(catalogue.find("oxford_iiit_pet"), pets, "val")
    copy = pickle.loads(pickle.dumps(source))
    assert (copy[0]["mask"] == source[0]["mask"]).all() and len(copy) == 1
    with pytest.raises(IndexError):
        source[1]


def test_cityscapes_ids_become_train_ids(tmp_path):
    ids = np.zeros((1024, 2048), np.uint8)
    ids[0, :5] = (7, 8, 33, 26, 29)

    def example():
        return {
            "image_id": "bonn_000001_000019",
            "image_left": _file(".png", _flat(1024, 2048, (1, 2, 3))),
            "segmentation_label": _file(".png", ids),
        }

    splits = {split: [example()] for split in ("train", "validation", "test")}
    _prepare("cityscapes/semantic_segmentation", tmp_path, splits)
    entry = catalogue.find("cityscapes")
    assert catalogue.find("cityscapes/semantic_segmentation") is entry
    assert catalogue.spec(entry, tmp_path).splits == {"train": 1, "val": 1}
    record = catalogue.open(entry, tmp_path, "val")[0]
    # Road, sidewalk, bicycle, car; a caravan is evaluated nowhere, like id 0.
    assert record["mask"][0, :6].tolist() == [0, 1, 18, 13, VOID, VOID]
    assert record["image"][0, 0].tolist() == [1, 2, 3]
    assert record["name"] == "bonn_000001_000019"
    assert entry.classes[13] == "car" and len(entry.classes) == 19


def _scene(red):
    mask = np.zeros((4, 6, 3), np.uint8)
    mask[0, :3, 0] = red
    mask[0, :3, 1] = (9, 8, 7)  # instances
    image = _file(".jpg", _flat(4, 6, (9, 9, 9)))
    return {"image": image, "annotation": _file(".png", mask)}


def test_scene_parse_reads_categories_not_instances(tmp_path):
    splits = {"train": [_scene((1, 4, 100))], "test": [_scene((2, 2, 2))]}
    _prepare("scene_parse150", tmp_path, splits)
    entry = catalogue.find("scene_parse150")
    record = catalogue.open(entry, tmp_path, "train")[0]
    assert record["mask"][0].tolist() == [0, 3, 99, VOID, VOID, VOID]
    assert [entry.classes[i] for i in (0, 3, 99)] == ["bed", "person", "flag"]
    assert len(set(entry.classes)) == 100


def test_unknown_mask_value_is_refused(tmp_path):
    splits = {"train": [_scene((101, 1, 1))], "test": [_scene((1, 1, 1))]}
    _prepare("scene_parse150", tmp_path, splits)
    source = catalogue.open(catalogue.find("scene_parse150"), tmp_path, "train")
    with pytest.raises(UserError, match="mask of 'train-000000' holds 101"):
        source[0]


def test_unprepared_entry_says_the_command(tmp_path):
    entry = catalogue.find("cityscapes")
    with pytest.raises(UserError) as caught:
        catalogue.spec(entry, tmp_path)
    message = str(caught.value)
    assert "\n" not in message
    assert "gtFine_trainvaltest.zip" in message
    assert "tfds.builder('cityscapes/semantic_segmentation'" in message
    assert "file_format='array_record'" in message


def test_unknown_name_has_no_entry():
    assert catalogue.find("nuclei") is None
