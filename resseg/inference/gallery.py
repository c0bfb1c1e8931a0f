"""The pictures of an evaluation: overlays, and three images chosen by their score."""

import math
import os
import re
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from resseg.data import DatasetSpec
from resseg.inference import metrics
from resseg.inference.pictures import save_prediction, write_image
from resseg.runs import layout, write_json

_LONGEST = 512  # side of a sample, pixels
_LONGEST_NAME = 200  # bytes; most systems allow 255, suffix included
_KEPT = 24  # images, evenly over the split, of which one is the median sample


class _Sample(NamedTuple):
    """An image that may be shown, no larger than it will be shown.

    Attributes:
        score: mean IoU of this image alone.
        row: what the index says of it.
        pictures: uint8 arrays `[height, width]` or `[height, width, 3]`, by name.
    """

    score: float
    row: dict[str, Any]
    pictures: dict[str, np.ndarray]


class Gallery:
    """Writes what an evaluation looked like into `folder`.

    Overlays of `count` images spread evenly over the split; the index, with the
    confusion matrix and the score of every image; where `count` > 0 also the samples:
    the best image, the worst, and the one next to the median among 24 spread evenly
    over the split, as image, truth and prediction (class indices).
    """

    def __init__(self, folder: Path, spec: DatasetSpec, split: str, count: int):
        self._folder, self._spec, self._split = folder, spec, split
        self._total = spec.splits[split]
        self._wanted = _spread(self._total, count)
        self._kept = _spread(self._total, _KEPT if count else 0)
        self._rows: list[dict[str, Any]] = []
        self._stems: set[str] = set()
        self._samples: list[_Sample] = []
        self._best: _Sample | None = None
        self._worst: _Sample | None = None
        classes = spec.num_classes
        self._confusion = np.zeros((classes, classes), np.int64)

    def __call__(
        self,
        image: np.ndarray,
        label: np.ndarray,
        prediction: np.ndarray,
        name: str,
        confidence: np.ndarray | None = None,
    ) -> None:
        """Takes the next image of the split.

        Args:
            image: uint8 RGB `[height, width, 3]`.
            label: class indices `[height, width]`, void where nobody knows.
            prediction: class indices `[height, width]`.
            name: of the image.
            confidence: uint8 `[height, width]`, 255 times the probability of the
                predicted class; None = not computed.
        """
        place = len(self._rows)
        if place in self._wanted:
            self._folder.mkdir(exist_ok=True)
            path = self._folder / f"{self._file_stem(name, place)}.png"
            save_prediction(path, image, label, prediction, self._spec.classes)
        classes = self._spec.num_classes
        counts = metrics.confusion_matrix(label, prediction, classes)
        self._confusion += counts
        self._rows.append(_row(name, counts))
        if self._kept:
            pictures = {"image": image, "truth": label, "prediction": prediction}
            if confidence is not None:
                pictures["confidence"] = confidence
            self._consider(place, pictures, counts)
        if len(self._rows) == self._total:
            self._finish()

    def _file_stem(self, name: str, place: int) -> str:
        """The name of an image as that of a file, which no other overlay has."""
        stem = re.sub(r"[/\\\0]", "_", name)
        if len(os.fsencode(stem)) > _LONGEST_NAME:
            stem = os.fsencode(stem)[:_LONGEST_NAME].decode("utf-8", "ignore")
        if stem != name:
            stem = f"{stem}-{place}"
        while stem in self._stems:
            stem = f"{stem}-{place}"
        self._stems.add(stem)
        return stem

    def _consider(
        self, place: int, pictures: dict[str, np.ndarray], counts: np.ndarray
    ) -> None:
        """Keeps an image if it is the best or worst so far, or may be the median."""
        scores: Any = metrics.scores(counts)
        score = float(scores["mean_iou"])
        if math.isnan(score):
            return
        best = self._best is None or score > self._best.score
        worst = self._worst is None or score < self._worst.score
        if not (best or worst or place in self._kept):
            return
        row = {
            **self._rows[-1],
            "iou": [_number(value) for value in scores["iou"]],
            "size": list(pictures["image"].shape[:2]),
        }
        small = {
            name: _shrink(np.asarray(picture, np.uint8))
            for name, picture in pictures.items()
        }
        sample = _Sample(score, row, small)
        if best:
            self._best = sample
        if worst:
            self._worst = sample
        if place in self._kept:
            self._samples.append(sample)

    def _finish(self) -> None:
        self._folder.mkdir(exist_ok=True)
        index = {
            "split": self._split,
            "classes": list(self._spec.classes),
            "confusion": self._confusion.tolist(),
            "images": self._rows,
            "samples": [
                self._write(role, sample) for role, sample in self._chosen().items()
            ],
        }
        write_json(self._folder / layout.PREDICTION_INDEX, index)

    def _chosen(self) -> dict[str, _Sample]:
        """The samples by role, each image once."""
        scores = [row["mean_iou"] for row in self._rows if row["mean_iou"] is not None]
        if self._best is None or self._worst is None or not scores:
            return {}
        chosen = {"best": self._best}
        taken = {self._best.row["name"], self._worst.row["name"]}
        middle = float(np.median(scores))
        rest = [sample for sample in self._samples if sample.row["name"] not in taken]
        if rest:
            chosen["median"] = min(rest, key=lambda each: abs(each.score - middle))
        if len(taken) > 1:
            chosen["worst"] = self._worst
        return chosen

    def _write(self, role: str, sample: _Sample) -> dict[str, Any]:
        files = {}
        for name, picture in sample.pictures.items():
            files[name] = f"{layout.SAMPLES}/{role}-{name}.png"
            if picture.ndim == 2:
                picture = picture[..., None].repeat(3, axis=2)
            write_image(self._folder / files[name], picture)
        return {"role": role, **sample.row, "files": files}


def _spread(total: int, count: int) -> set[int]:
    """`count` places of `total`, or all, evenly from the first to the last."""
    places = np.linspace(0, total - 1, min(count, total)).round()
    return set(places.astype(int).tolist())


def _row(name: str, counts: np.ndarray) -> dict[str, Any]:
    scores = metrics.scores(counts)
    keys = ("mean_iou", "pixel_accuracy")
    return {"name": name, **{key: _number(scores[key]) for key in keys}}


def _number(value: Any) -> float | None:
    """For JSON, which has no NaN."""
    return float(value) if math.isfinite(value) else None


def _shrink(picture: np.ndarray) -> np.ndarray:
    """At most 512 pixels a side; class indices are picked, colours averaged."""
    factor = _LONGEST / max(picture.shape[:2])
    if factor >= 1:
        return picture.copy()
    way = cv2.INTER_NEAREST if picture.ndim == 2 else cv2.INTER_AREA
    return cv2.resize(picture, None, fx=factor, fy=factor, interpolation=way)
