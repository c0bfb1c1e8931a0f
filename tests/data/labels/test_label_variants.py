"""Other forms of the same formats: older versions, other trees, single files."""

import json
import shutil
import zipfile

import label_trees
import numpy as np
import pytest
from label_commands import call, stored
from label_trees import SIZES
from PIL import Image

from resseg.data.labels.dicom_files import image_at


def test_yolo_without_a_description(tmp_path):
    made = label_trees.yolo(tmp_path / "tree")
    images, labels = tmp_path / "photos", tmp_path / "texts"
    images.mkdir(), labels.mkdir()
    for name in SIZES:
        split = "val" if name == "c" else "train"
        shutil.copy(tmp_path / f"tree/images/{split}/{name}.png", images)
        shutil.copy(tmp_path / f"tree/labels/{split}/{name}.txt", labels)
    (labels / "classes.txt").write_text("cell\nedge\n")
    (labels / "b.txt").unlink()
    words = ("--images", images, "--labels", labels, "--dir", tmp_path / "d")
    assert call("prepare", "set", *words, "--val-fraction", "0.4")[0] == 0
    masks = stored(tmp_path / "d")
    np.testing.assert_array_equal(masks["a"], made.masks["a"])
    np.testing.assert_array_equal(masks["c"], made.masks["c"])
    assert not masks["b"].any()
    (labels / "z.txt").write_text("")
    status, out, _ = call("check", *words[:4])
    assert status == 2 and "z.txt: a text file of no image in" in out


def test_an_image_of_yolo_without_text_takes_none_of_another_split(tmp_path):
    made = label_trees.yolo(tmp_path)
    label_trees.picture(tmp_path / "images/val/a.png", SIZES["a"], seed=9)
    assert call("prepare", "set", *made.options, "--dir", tmp_path / "d")[0] == 0
    masks = stored(tmp_path / "d")
    np.testing.assert_array_equal(masks["images/train/a"], made.masks["a"])
    assert not masks["images/val/a"].any()


def test_nnunet_of_pictures_whose_channels_are_files(tmp_path):
    channels = {}
    for name, size in SIZES.items():
        generator = label_trees.random(name)
        channels[name] = generator.integers(0, 256, (*size, 4)).astype(np.uint8)
        for number in range(4):
            file = tmp_path / f"imagesTr/{name}_{number:04d}.png"
            file.parent.mkdir(exist_ok=True)
            Image.fromarray(channels[name][..., number]).save(file)
        file = tmp_path / f"labelsTr/{name}.png"
        file.parent.mkdir(exist_ok=True)
        Image.fromarray(generator.integers(0, 2, size).astype(np.uint8) * 3).save(file)
    content = {"channel_names": {}, "file_ending": ".png"}
    content["labels"] = {"background": 0, "cell": 3}
    (tmp_path / "dataset.json").write_text(json.dumps(content))
    words = ("--labels", tmp_path, "--dir", tmp_path / "d")
    assert "4 channels; say which one or three" in call("prepare", "set", *words)[2]
    status, _, err = call("prepare", "set", *words, "--channels", "3,0,2")
    assert status == 0, err
    for name, image in stored(tmp_path / "d", what="image").items():
        np.testing.assert_array_equal(image, channels[name][..., [3, 0, 2]])
    masks = stored(tmp_path / "d")
    assert all(np.unique(mask).tolist() == [0, 1] for mask in masks.values())
    assert "--channels 9: a has 4" in call("check", *words[:2], "--channels", "9")[2]


def test_nnunet_of_the_first_version(tmp_path):
    made = label_trees.nnunet(tmp_path)
    content = {"modality": {"0": "CT"}, "numTraining": 3}
    content["labels"] = {"0": "background", "1": "cell", "2": "edge", "3": "ignore"}
    (tmp_path / "dataset.json").write_text(json.dumps(content))
    assert call("prepare", "set", *made.options, "--dir", tmp_path / "d")[0] == 0
    for name, mask in stored(tmp_path / "d").items():
        np.testing.assert_array_equal(mask, made.masks[name])


def test_geojson_with_a_file_for_each_image(tmp_path):
    made = label_trees.geojson(tmp_path)
    whole = json.loads((tmp_path / "fields.geojson").read_text())
    for number, name in enumerate(SIZES):
        own = whole | {"features": whole["features"][2 * number : 2 * number + 2]}
        file = tmp_path / f"parts/{name}.geojson"
        file.parent.mkdir(exist_ok=True)
        for feature in own["features"]:
            feature["properties"] = {"kind": feature["properties"]["class"]}
        file.write_text(json.dumps(own))
    words = ("--images", tmp_path / "images", "--labels", tmp_path / "parts")
    assert "--attribute NAME, one of kind" in call("check", *words)[2]
    words += ("--attribute", "kind", "--dir", tmp_path / "d")
    assert call("prepare", "set", *words)[0] == 0
    for name, mask in stored(tmp_path / "d").items():
        np.testing.assert_array_equal(mask, made.masks[name])


def test_geojson_needs_images_with_a_georeference(tmp_path):
    made = label_trees.geojson(tmp_path)
    label_trees.picture(tmp_path / "images/d.png", (5, 6))
    status, _, err = call("check", *made.options)
    assert status == 2 and "d.png: has no georeference; expected a GeoTIFF" in err


def test_geojson_that_lies_elsewhere_is_no_background(tmp_path):
    made = label_trees.geojson(tmp_path)
    file = tmp_path / "fields.geojson"
    content = json.loads(file.read_text())
    for feature in content["features"]:
        rings = feature["geometry"]["coordinates"]
        feature["geometry"]["coordinates"] = [
            [[x + 1e6, y] for x, y in ring] for ring in rings
        ]
    file.write_text(json.dumps(content))
    status, _, err = call("check", *made.options)
    assert status == 2
    assert "none of 6 features lies over an image" in err and "EPSG:32632?" in err


def test_regions_of_imagej_by_group_and_in_one_set(tmp_path):
    roifile = pytest.importorskip("roifile")
    label_trees.picture(tmp_path / "images/only.tif", (20, 30))
    square = [(2, 2), (12, 2), (12, 12), (2, 12)]
    regions = [roifile.ImagejRoi.frompoints(np.array(square), name="0001-0007-0007")]
    regions[0].group = 4
    with zipfile.ZipFile(tmp_path / "RoiSet.zip", "w") as archive:
        archive.writestr("0001-0007-0007.roi", regions[0].tobytes())
    expected = np.zeros((20, 30), np.uint8)
    expected[2:12, 2:12] = 1
    for attribute, name in (("name", "roi"), ("group", "4")):
        words = ("--images", tmp_path / "images", "--labels", tmp_path / "RoiSet.zip")
        words += ("--attribute", attribute, "--val-fraction", "0")
        words += ("--dir", tmp_path / "d", "--overwrite")
        status, out, err = call("prepare", "set", *words)
        assert status == 0, err
        assert f"1 {name}" in out
        np.testing.assert_array_equal(stored(tmp_path / "d")["only"], expected)


def test_two_volumes_are_a_pair_whatever_their_names(tmp_path):
    made = label_trees.nifti(tmp_path)
    words = ("--images", tmp_path / "scans/a.nii.gz")
    words += ("--labels", tmp_path / "labels/b.nii.gz", "--classes", "x,y,z")
    assert "b.nii.gz: an array of" in call("check", *words)[2]
    shutil.move(tmp_path / "labels/a.nii.gz", tmp_path / "labels/segmentation.nii.gz")
    words = ("--images", tmp_path / "scans/a.nii.gz", "--val-fraction", "0")
    words += ("--labels", tmp_path / "labels/segmentation.nii.gz")
    words += ("--classes", "x,y,z", "--dir", tmp_path / "d")
    assert call("prepare", "set", *words)[0] == 0
    masks = stored(tmp_path / "d")
    assert len(masks) == 4
    np.testing.assert_array_equal(masks["a-0002"], made.masks["a-0002"])


def test_grey_of_dicom_is_as_its_window_says(tmp_path):
    values = np.arange(6, dtype=np.uint16).reshape(2, 3) * 100
    shared = {"RescaleSlope": "2", "RescaleIntercept": "-100"}
    file = tmp_path / "a.dcm"
    window = {"WindowCenter": "400.5", "WindowWidth": "601"}
    label_trees.dicom_file(file, values, "1.2", 0, **shared, **window)
    grey = image_at(file, None).load().upright_rgb()[..., 0]
    units = values * 2.0 - 100
    expected = np.rint((units.clip(100, 700) - 100) / 600 * 255)
    np.testing.assert_array_equal(grey, expected)
    grey = image_at(file, (0.0, 900.0)).load().upright_rgb()[..., 0]
    np.testing.assert_array_equal(grey, np.rint(units.clip(0, 900) / 900 * 255))
    inverse = {"PhotometricInterpretation": "MONOCHROME1"}
    label_trees.dicom_file(file, values, "1.2", 0, **inverse)
    grey = image_at(file, None).load().upright_rgb()[..., 0]
    np.testing.assert_array_equal(grey, np.rint(255 - values / 500 * 255))


def test_of_several_annotations_the_last_or_the_ground_truth_is_taken(tmp_path):
    made = label_trees.labelstudio(tmp_path)
    file = tmp_path / "export.json"
    tasks = json.loads(file.read_text())
    for task in tasks:
        done = task["annotations"][0]
        task["annotations"] = [done, done | {"id": 3, "result": []}]
    file.write_text(json.dumps(tasks))
    _, out, _ = call("check", *made.options, "--classes", "background,cell")
    assert "is no category" in call("check", *made.options, "--classes", "a,b")[2]
    tasks[0]["annotations"][0]["ground_truth"] = True
    file.write_text(json.dumps(tasks))
    words = (*made.options, "--dir", tmp_path / "d")
    status, out, _ = call("prepare", "set", *words)
    assert status == 0 and "task 6: 2 annotations: the last one is taken" in out
    masks = stored(tmp_path / "d")
    np.testing.assert_array_equal(masks["a"], made.masks["a"])
    assert not masks["b"].any()
