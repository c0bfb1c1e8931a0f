"""DICOM: a series of masks for a series of images.

A mask belongs to the image of its file name, else to that of its place in the patient.
"""

import dataclasses
from pathlib import Path

import numpy as np

from resseg.data.findings import Finding
from resseg.data.labels.dicom_files import (
    dicom_below,
    image_at,
    is_dicom,
    name_below,
    pixels_of,
    read_head,
    read_whole,
)
from resseg.data.labels.evidence import Evidence
from resseg.data.labels.formats import Format, Labelled, Reading, Request
from resseg.data.labels.grey import indices
from resseg.errors import UserError


def is_series(seen: Evidence, segmentation: bool) -> bool:
    """Whether DICOM files are, or are not, segmentation objects."""
    if seen.start[128:132] != b"DICM":
        return False
    first = seen.path
    if first.is_dir():
        first = next(path for path in sorted(first.rglob("*")) if is_dicom(path))
    return (read_head(first).get("Modality") == "SEG") == segmentation


def _fits(seen: Evidence) -> bool:
    return is_series(seen, segmentation=False)


def read(request: Request) -> Reading:
    """Matches the masks of a folder with the images of another.

    Raises:
        UserError: a file is damaged, or a mask has no image.
    """
    if request.root is None:
        raise UserError("--images DIR is missing: the series that the masks are for")
    root, labels = request.root, request.labels
    images = [image_at(path, request.options.window) for path in dicom_below(root)]
    by_name = {name_below(each.path, root): each for each in images}
    by_place = {(each.study, each.place): each for each in images if each.place}
    reading = Reading([], [])
    files = dicom_below(labels) if labels.is_dir() else [labels]
    taken: dict[Path, Path] = {}
    for file in files:
        mask = image_at(file, None)
        name = name_below(file, labels) if labels.is_dir() else file.stem
        image = by_name.get(name) or by_place.get((mask.study, mask.place))
        if image is None:
            message = f"no image of its name or place in {root}"
            reading.findings.append(Finding("pair", str(file), message))
            continue
        if taken.setdefault(image.path, file) != file:
            raise UserError(f"{file}: means {image.path}, as {taken[image.path]} does")
        own = name_below(image.path, root)
        labelled = Labelled(own, image, DicomMask(file), request.split, image.study)
        reading.images.append(labelled)
    return reading


@dataclasses.dataclass(frozen=True)
class DicomMask:
    """A mask that is a DICOM image, see `parts.MaskPart`."""

    path: Path

    def __str__(self) -> str:
        return str(self.path)

    def values(self) -> np.ndarray:
        stored = pixels_of(read_whole(self.path), self.path)
        if stored.ndim != 2:
            raise UserError(f"{self.path}: pixels of {stored.shape}; expected one mask")
        return indices(stored, str(self.path))


FORMAT = Format(
    name="dicom",
    what="DICOM: a folder of masks for a folder of images, by name or place",
    rasteriser="none: pydicom's pixels as stored",
    fits=_fits,
    read=read,
    painted=False,
    needs="pydicom",
)
