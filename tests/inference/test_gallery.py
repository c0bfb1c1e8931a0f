"""What an evaluation leaves behind: the index, and three samples by their score."""

import json

import cv2
import numpy as np
import pytest

from resseg.data import VOID, DatasetSpec
from resseg.inference.gallery import Gallery
from resseg.inference.metrics import scores


def evaluate(folder, right, count=2, size=(20, 30)):
    """Feeds images of which the share `right` of the rows is predicted right."""
    spec = DatasetSpec("cells", ("background", "<b>cell"), {"val": len(right)})
    gallery = Gallery(folder, spec, "val", count)
    confusion = np.zeros((2, 2), np.int64)
    for number, share in enumerate(right):
        label = np.zeros(size, np.int32)
        label[:, ::2] = 1
        label[0] = VOID
        prediction = np.zeros(size, np.uint8)
        rows = 1 + round(share * (size[0] - 1))
        prediction[:rows] = label[:rows] == 1
        valid = label != VOID
        np.add.at(confusion, (label[valid], prediction[valid]), 1)
        image = np.full((*size, 3), number, np.uint8)
        confidence = np.full(size, 200, np.uint8)
        gallery(image, label, prediction, f"image{number}", confidence)
    return json.loads((folder / "index.json").read_text()), confusion


def test_the_index_holds_the_confusion_matrix_and_every_score(tmp_path):
    index, confusion = evaluate(tmp_path / "predictions", [0.5, 1.0, 0.0, 0.7, 0.2])
    assert index["confusion"] == confusion.tolist()
    assert index["classes"] == ["background", "<b>cell"]
    assert [row["name"] for row in index["images"]] == [f"image{i}" for i in range(5)]
    assert index["images"][1]["mean_iou"] == 1.0
    assert index["images"][2]["mean_iou"] == pytest.approx(0.25)  # (1/2 + 0) / 2
    assert scores(confusion)["mean_iou"] < 1


def test_samples_are_the_best_the_median_and_the_worst(tmp_path):
    folder = tmp_path / "predictions"
    index, _ = evaluate(folder, [0.5, 1.0, 0.0, 0.7, 0.2])
    chosen = {sample["role"]: sample for sample in index["samples"]}
    assert {role: sample["name"] for role, sample in chosen.items()} == {
        "best": "image1",
        "median": "image0",
        "worst": "image2",
    }
    assert chosen["best"]["size"] == [20, 30]
    truth = cv2.imread(str(folder / chosen["best"]["files"]["truth"]))
    assert truth[0, 0, 0] == VOID
    assert truth[5, :4, 0].tolist() == [1, 0, 1, 0]
    confidence = cv2.imread(str(folder / chosen["worst"]["files"]["confidence"]))
    assert confidence[0, 0, 0] == 200


def test_large_images_are_stored_small_and_keep_their_classes(tmp_path):
    folder = tmp_path / "predictions"
    index, _ = evaluate(folder, [0.5], size=(100, 2048))
    (sample,) = index["samples"]
    truth = cv2.imread(str(folder / sample["files"]["truth"]))
    assert truth.shape[:2] == (25, 512)
    assert set(np.unique(truth)) <= {0, 1, VOID}
    assert sample["size"] == [100, 2048]


def test_without_pictures_the_index_is_written_all_the_same(tmp_path):
    folder = tmp_path / "predictions"
    index, _ = evaluate(folder, [0.5, 1.0], count=0)
    assert index["samples"] == []
    assert [path.name for path in folder.iterdir()] == ["index.json"]
