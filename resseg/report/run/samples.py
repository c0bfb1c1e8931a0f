"""Predictions of a run for its page: samples with masks, or overlays as they are."""

import base64
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from resseg.data.colors import palette
from resseg.data.spec import VOID
from resseg.errors import UserError
from resseg.inference.pictures import read_image
from resseg.runs import layout
from resseg.runs.reader import Run
from resseg.text import parse_json

_OVERLAYS = 4  # pictures of a run that recorded no samples
_OVERLAY_WIDTH = 1200  # pixels
_JPEG = (cv2.IMWRITE_JPEG_QUALITY, 90)


class Predictions(NamedTuple):
    """What the folder of predictions holds.

    Attributes:
        split: that was evaluated; "" where no index says.
        classes: names of the rows of the confusion matrix.
        confusion: int64 `[truth, prediction]`, or None.
        images: name and scores of every image.
        samples: for scripts: role, name, scores, picture and masks.
        overlays: name and data URI, where there are no samples.
    """

    split: str
    classes: tuple[str, ...]
    confusion: np.ndarray | None
    images: list[dict[str, Any]]
    samples: list[dict[str, Any]]
    overlays: list[tuple[str, str]]


def read_predictions(run: Run) -> Predictions:
    """Reads the index and the samples; overlays alone where a run has no index."""
    folder = run.path / layout.PREDICTIONS
    try:
        index = parse_json((folder / layout.PREDICTION_INDEX).read_text("utf-8"))
    except (OSError, ValueError):
        return Predictions("", (), None, [], [], _overlays(folder))
    samples = [
        sample
        for sample in (_sample(folder, each) for each in index["samples"])
        if sample is not None
    ]
    return Predictions(
        index["split"],
        tuple(index["classes"]),
        np.asarray(index["confusion"], np.int64),
        index["images"],
        samples,
        [] if samples else _overlays(folder),
    )


def colors(num_classes: int) -> list[str]:
    """The colours of the classes, as in every picture of a run."""
    return ["#{:02x}{:02x}{:02x}".format(*color) for color in palette(num_classes)]


def data_uri(image: np.ndarray, kind: str = "jpeg") -> str:
    """uint8 RGB `[height, width, 3]` as a URI that needs no file."""
    options = list(_JPEG) if kind == "jpeg" else []
    pixels = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    done, encoded = cv2.imencode(f".{kind}", pixels, options)
    if not done:
        raise ValueError(f"an image {image.shape} cannot be encoded as {kind}")
    return file_uri(encoded.tobytes(), kind)


def file_uri(content: bytes, kind: str) -> str:
    """The bytes of a picture file as a URI."""
    return f"data:image/{kind};base64,{base64.b64encode(content).decode('ascii')}"


def run_lengths(mask: np.ndarray) -> list[int]:
    """A mask as value, length, value, length …, row after row."""
    flat = np.asarray(mask).ravel()
    starts = np.flatnonzero(np.diff(flat, prepend=-1))
    lengths = np.diff(np.append(starts, flat.size))
    return np.stack([flat[starts].astype(np.int64), lengths], axis=1).ravel().tolist()


def _sample(folder: Path, recorded: dict[str, Any]) -> dict[str, Any] | None:
    """One sample for scripts; None where a file of it is missing."""
    try:
        pictures = {
            name: read_image(_inside(folder, file))
            for name, file in recorded["files"].items()
        }
    except UserError:
        return None
    image = pictures["image"]
    masks = {name: pictures[name][..., 0] for name in ("truth", "prediction")}
    sample = {
        key: recorded[key] for key in ("role", "name", "mean_iou", "pixel_accuracy")
    }
    sample |= {
        "iou": recorded["iou"],
        "size": recorded["size"],
        "height": image.shape[0],
        "width": image.shape[1],
        "image": data_uri(image),
        "present": sorted(
            set(np.unique(np.stack(list(masks.values()))).tolist()) - {VOID}
        ),
        **{name: run_lengths(mask) for name, mask in masks.items()},
    }
    if "confidence" in pictures:
        # 32 levels: what the eye tells apart, and runs that stay short
        levels = pictures["confidence"][..., 0] // 8 * 8
        sample["confidence"] = run_lengths(levels)
    return sample


def _inside(folder: Path, file: str) -> Path:
    """A file that an index names, refused where it lies outside of the folder."""
    path = (folder / file).resolve()
    if not path.is_relative_to(folder.resolve()):
        raise UserError(f"{folder}: its index names {file}, which lies outside")
    return path


def _overlays(folder: Path) -> list[tuple[str, str]]:
    files = sorted(folder.glob("*.png"))
    if not files:
        return []
    places = np.linspace(0, len(files) - 1, min(_OVERLAYS, len(files))).round()
    overlays = []
    for place in dict.fromkeys(places.astype(int).tolist()):
        try:
            picture = read_image(files[place])
        except UserError:  # half written
            continue
        if picture.shape[1] > _OVERLAY_WIDTH:
            factor = _OVERLAY_WIDTH / picture.shape[1]
            picture = cv2.resize(
                picture, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA
            )
        overlays.append((files[place].stem, data_uri(picture)))
    return overlays
