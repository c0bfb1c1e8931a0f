"""DICOM: the images of a folder, and reading their pixels with pydicom."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from resseg.data.labels.fields import damage
from resseg.data.labels.grey import picture, range_of, to_grey
from resseg.data.labels.places import files_below, stem
from resseg.data.pixels import Picture
from resseg.data.spec import LONGEST_SIDE
from resseg.errors import UserError

KIND = "DICOM"
_MARK = b"DICM"
_MOST_PIXELS = 1 << 29  # of all frames of a file


def is_dicom(path: Path) -> bool:
    """Whether a file says that it is one."""
    try:
        with path.open("rb") as file:
            return file.read(132)[128:] == _MARK
    except OSError:
        return False


def dicom_below(root: Path) -> list[Path]:
    """The DICOM files of a folder and those below it, whatever their names.

    Raises:
        UserError: there is none.
    """
    files = [path for path in files_below(root, ("",)) if is_dicom(path)]
    if not files:
        raise UserError(f"{root}: holds no DICOM file")
    return files


def read_head(path: Path) -> Any:
    """All of a file but its pixels.

    Raises:
        UserError: it is damaged.
    """
    return _read(path, stop_before_pixels=True)


def read_whole(path: Path) -> Any:
    """All of a file.

    Raises:
        UserError: it is damaged, or has pixels without bound.
    """
    head = read_head(path)
    size_in(head, path)
    return _read(path, stop_before_pixels=False)


def size_in(head: Any, path: Path) -> tuple[int, int]:
    """Height and width that a file says.

    Raises:
        UserError: it has no pixels, or sides beyond any image.
    """
    sides = [head.get("Rows"), head.get("Columns")]
    if not all(isinstance(side, int) and side > 0 for side in sides):
        raise UserError(f"{path}: has no pixels")
    frames = int(head.get("NumberOfFrames") or 1)
    if max(sides) > LONGEST_SIDE or sides[0] * sides[1] * frames > _MOST_PIXELS:
        raise UserError(f"{path}: {frames} frames of {sides[0]}x{sides[1]}: too large")
    return sides[0], sides[1]


def pixels_of(dataset: Any, path: Path) -> np.ndarray:
    """The pixels as stored.

    Raises:
        UserError: they are damaged, or compressed in a way that nobody here reads.
    """
    with damage(str(path), "pixels of DICOM"):
        return dataset.pixel_array


@dataclasses.dataclass(frozen=True)
class DicomImage:
    """One image, see `parts.ImagePart`.

    Attributes:
        path: of the file.
        size: height and width.
        uid: of the image.
        study: that it belongs to.
        place: where it lies, in millimetres; empty where the file does not say.
        window: values that become black and white; None = as the file says.
    """

    path: Path
    size: tuple[int, int]
    uid: str
    study: str
    place: tuple[float, ...]
    window: tuple[float, float] | None

    def __str__(self) -> str:
        return str(self.path)

    def load(self) -> Picture:
        with damage(str(self.path), KIND):
            return self._load()

    def _load(self) -> Picture:
        dataset = read_whole(self.path)
        stored = pixels_of(dataset, self.path)
        if stored.dtype == np.uint8 and stored.ndim == 3 and stored.shape[2] == 3:
            if dataset.get("PhotometricInterpretation") != "RGB":
                raise UserError(f"{self.path}: colours that are not RGB")
            return picture(self.path, "DICOM", stored)
        if stored.ndim != 2:
            raise UserError(f"{self.path}: pixels of {stored.shape}; not one image")
        slope = float(dataset.get("RescaleSlope") or 1)
        values = stored * slope + float(dataset.get("RescaleIntercept") or 0)
        window = self.window or _window(dataset) or range_of(values, str(self.path))
        inverted = dataset.get("PhotometricInterpretation") == "MONOCHROME1"
        return picture(self.path, "DICOM", to_grey(values, window, inverted))


def image_at(path: Path, window: tuple[float, float] | None) -> DicomImage:
    """An image of a folder.

    Raises:
        UserError: it is damaged, or holds several frames.
    """
    with damage(str(path), KIND):
        head = read_head(path)
        if int(head.get("NumberOfFrames") or 1) > 1:
            raise UserError(f"{path}: several frames; expected a file for each slice")
        place = head.get("ImagePositionPatient") or ()
        return DicomImage(
            path,
            size_in(head, path),
            str(head.get("SOPInstanceUID") or ""),
            str(head.get("StudyInstanceUID") or ""),
            tuple(round(float(value), 3) for value in place),
            window,
        )


def name_below(path: Path, root: Path) -> str:
    """The name of a pair: its path below a folder, without the suffix."""
    return path.relative_to(root).with_name(stem(path)).as_posix()


def _window(dataset: Any) -> tuple[float, float] | None:
    """Black and white of the first window that the file names (PS3.3 C.11.2.1.2)."""
    center, width = dataset.get("WindowCenter"), dataset.get("WindowWidth")
    if center is None or width is None:
        return None
    first = [
        float(
            value[0]
            if isinstance(value, list | tuple) or hasattr(value, "append")
            else value
        )
        for value in (center, width)
    ]
    if first[1] < 1:
        return None
    low = first[0] - 0.5 - (first[1] - 1) / 2
    return low, low + first[1] - 1


def _read(path: Path, stop_before_pixels: bool) -> Any:
    import pydicom

    with damage(str(path), KIND):
        dataset = pydicom.dcmread(path, stop_before_pixels=stop_before_pixels)
        dataset.decode()  # elements are otherwise read, or found damaged, later
        return dataset
