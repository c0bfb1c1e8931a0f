"""Slices of NIfTI volumes, as images and as masks.

Slice k of an array that is cut across axis 2 is `array[:, :, k].T`: rows are axis 1,
columns are axis 0, as stored; nothing is turned to another orientation. Across another
axis likewise: of the two that remain the later one goes down.
"""

import dataclasses
import functools
import math
import threading
from pathlib import Path
from typing import Any

import numpy as np

from resseg.data.labels.fields import damage
from resseg.data.labels.grey import indices, picture, range_of, to_grey
from resseg.data.pixels import Picture
from resseg.errors import UserError, require_installed

USUAL_AXIS = 2
_MOST_VOXELS = 1 << 29
_KIND = "NIfTI"
_lock = threading.Lock()


@dataclasses.dataclass(frozen=True)
class Volume:
    """What the header of a file says.

    Attributes:
        path: of the file.
        shape: of its array.
        affine: where it lies, in millimetres.
    """

    path: Path
    shape: tuple[int, int, int]
    affine: np.ndarray

    def slices(self, axis: int) -> int:
        """How many there are across an axis."""
        return self.shape[axis]

    def size(self, axis: int) -> tuple[int, int]:
        """Height and width of a slice across an axis."""
        width, height = (self.shape[other] for other in range(3) if other != axis)
        return height, width


def open_volume(path: Path) -> Volume:
    """Reads the header of a NIfTI file.

    Raises:
        UserError: it is none, or not of three dimensions.
    """
    image = _load(path)
    shape = tuple(int(side) for side in image.shape)
    while len(shape) > 3 and shape[-1] == 1:
        shape = shape[:-1]
    if len(shape) == 2:
        shape = (*shape, 1)
    if len(shape) != 3 or min(shape) < 1:
        raise UserError(f"{path}: an array of {shape}; expected three dimensions")
    if math.prod(shape) > _MOST_VOXELS:
        raise UserError(
            f"{path}: {math.prod(shape)} voxels; expected at most {_MOST_VOXELS}"
        )
    return Volume(path, (shape[0], shape[1], shape[2]), np.asarray(image.affine))


def require_alike(volume: Volume, mask: Volume) -> None:
    """Raises UserError unless an image and its mask are of one shape and place."""
    if volume.shape != mask.shape:
        raise UserError(
            f"{mask.path}: an array of {mask.shape}; {volume.path} is {volume.shape}"
        )
    if not np.allclose(volume.affine, mask.affine, atol=1e-2):
        raise UserError(
            f"{mask.path}: lies elsewhere than {volume.path} (another affine)"
        )


@dataclasses.dataclass(frozen=True)
class SliceImage:
    """A slice of one volume, or of three that are its channels.

    Attributes:
        volumes: one, or three.
        axis: that it is cut across.
        index: of the slice.
        window: values that become black and white; None = those of each volume.
    """

    volumes: tuple[Volume, ...]
    axis: int
    index: int
    window: tuple[float, float] | None

    def __str__(self) -> str:
        return f"{self.volumes[0].path}[{self.index}]"

    @property
    def size(self) -> tuple[int, int]:
        return self.volumes[0].size(self.axis)

    def load(self) -> Picture:
        channels = []
        for volume in self.volumes:
            values, low_high = _array(volume.path)
            if low_high is None:
                low_high = range_of(values, str(volume.path))
            window = self.window or low_high
            channels.append(to_grey(_cut(values, self.axis, self.index), window))
        whole = channels[0] if len(channels) == 1 else np.stack(channels, axis=2)
        return picture(self.volumes[0].path, "NIfTI", whole)


@dataclasses.dataclass(frozen=True)
class SliceMask:
    """A slice of a mask, see `parts.MaskPart`."""

    volume: Volume
    axis: int
    index: int

    def __str__(self) -> str:
        return f"{self.volume.path}[{self.index}]"

    def values(self) -> np.ndarray:
        values, _ = _array(self.volume.path)
        return indices(_cut(values, self.axis, self.index), str(self))


def _cut(values: np.ndarray, axis: int, index: int) -> np.ndarray:
    return np.take(values, index, axis).T


def _array(path: Path) -> tuple[np.ndarray, tuple[float, float] | None]:
    # Slices of a volume are asked for together, by several threads.
    with _lock:
        return _decoded(path)


@functools.lru_cache(maxsize=4)
def _decoded(path: Path) -> tuple[np.ndarray, tuple[float, float] | None]:
    """The array of a file, and its range where that is of finite numbers."""
    volume = open_volume(path)
    with damage(str(path), _KIND):
        values = np.asanyarray(_load(path).dataobj).reshape(volume.shape)
    if not np.issubdtype(values.dtype, np.number):
        raise UserError(f"{path}: voxels of type {values.dtype}; expected numbers")
    if np.iscomplexobj(values):
        raise UserError(f"{path}: complex numbers; expected real ones")
    finite = np.isfinite([values.min(), values.max()]).all()
    return values, range_of(values, str(path)) if finite else None


def _load(path: Path) -> Any:
    require_installed("nibabel", "labels", str(path))
    import nibabel

    with damage(str(path), _KIND):
        return nibabel.load(path)
