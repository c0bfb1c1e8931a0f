"""DICOM segmentation objects (SEG, PS3.3 A.51), binary ones.

Each frame is one segment over one image, which it names by its UID; the label of the
segment is the category, and segments of higher numbers lie on top.
"""

import dataclasses
import functools
import threading
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from resseg.data.findings import Finding
from resseg.data.labels.dicom import is_series
from resseg.data.labels.dicom_files import (
    KIND,
    dicom_below,
    image_at,
    name_below,
    pixels_of,
    read_whole,
    size_in,
)
from resseg.data.labels.evidence import Evidence
from resseg.data.labels.fields import damage
from resseg.data.labels.formats import Format, Labelled, Reading, Request
from resseg.data.labels.painting import Object, Objects
from resseg.errors import UserError, some

_lock = threading.Lock()


def _fits(seen: Evidence) -> bool:
    return is_series(seen, segmentation=True)


def read(request: Request) -> Reading:
    """Reads one object or a folder of them; images without a frame have no segment.

    Raises:
        UserError: a file is damaged, no binary segmentation, or names no image.
    """
    if request.root is None:
        raise UserError("--images DIR is missing: the series that are segmented")
    labels = request.labels
    images = {
        each.uid: each
        for each in (
            image_at(path, request.options.window) for path in dicom_below(request.root)
        )
    }
    reading = Reading([], [])
    covered: dict[str, list[Object]] = defaultdict(list)
    for file in dicom_below(labels) if labels.is_dir() else [labels]:
        dataset = read_whole(file)
        if dataset.get("SegmentationType") != "BINARY":
            kind = dataset.get("SegmentationType") or dataset.get("Modality")
            raise UserError(f"{file}: {kind}; expected a BINARY segmentation")
        names = _segments(dataset, file)
        reading.categories += [
            name for name in names.values() if name not in reading.categories
        ]
        unknown = []
        for frame, (segment, uid) in enumerate(_frames(dataset, names, file)):
            where = f"frame {frame} ({names[segment]})"
            region = Frame(file, frame, size_in(dataset, file))
            if uid in images:
                covered[uid].append(Object(names[segment], region, where, segment))
            else:
                unknown.append(uid)
        if unknown:
            message = f"{len(unknown)} frames of images that are not in {request.root}"
            message += f": {some(unknown, 2)}"
            reading.findings.append(Finding("pair", str(file), message))
    for uid, image in images.items():
        name = name_below(image.path, request.root)
        content = Objects(str(labels), tuple(covered[uid]), image.size)
        labelled = Labelled(name, image, content, request.split, image.study)
        reading.images.append(labelled)
    return reading


def _segments(dataset: Any, file: Path) -> dict[int, str]:
    with damage(f"{file}: SegmentSequence", KIND):
        return {
            int(item.SegmentNumber): str(item.SegmentLabel)
            for item in dataset.SegmentSequence
        }


def _frames(dataset: Any, names: dict[int, str], file: Path) -> list[tuple[int, str]]:
    """Of each frame the segment, and the image that it is over."""
    frames = []
    with damage(f"{file}: frames", KIND):
        for number, item in enumerate(dataset.PerFrameFunctionalGroupsSequence):
            known = item.SegmentIdentificationSequence[0]
            segment = int(known.ReferencedSegmentNumber)
            if segment not in names:
                raise UserError(f"{file}: frame {number}: no segment {segment}")
            source = item.DerivationImageSequence[0].SourceImageSequence[0]
            frames.append((segment, str(source.ReferencedSOPInstanceUID)))
        if len(frames) != int(dataset.get("NumberOfFrames") or 1):
            raise UserError(f"{file}: NumberOfFrames: expected {len(frames)}")
    return frames


@dataclasses.dataclass(frozen=True)
class Frame:
    """A frame of a segmentation object."""

    file: Path
    index: int
    size: tuple[int, int]

    def mask(self, height: int, width: int) -> np.ndarray:
        if self.size != (height, width):
            raise ValueError(f"of {self.size}, in an image of {height}x{width}")
        with _lock:  # frames of a file are asked for together, by several threads
            return _decoded(self.file)[self.index] > 0


@functools.lru_cache(maxsize=2)
def _decoded(file: Path) -> np.ndarray:
    dataset = read_whole(file)
    return pixels_of(dataset, file).reshape(-1, *size_in(dataset, file))


FORMAT = Format(
    name="dicomseg",
    what="DICOM segmentation objects (SEG), binary, over a folder of images",
    rasteriser="none: pydicom's pixels",
    fits=_fits,
    read=read,
    needs="pydicom",
)
