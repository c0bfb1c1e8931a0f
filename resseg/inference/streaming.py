"""A TIFF of any size -> a TIFF of class indices, block by block.

Blocks that are done lie in a folder beside the result until all are, so that a killed
prediction goes on where it was. A block is the compressed tiles of the result: in the
end they are only put in order.
"""

import contextlib
import dataclasses
import json
import os
import shutil
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from resseg.data import VOID, depth
from resseg.data.colors import palette
from resseg.data.normalization import Normalizer
from resseg.data.windows import Windows
from resseg.errors import UserError, naming
from resseg.inference import mosaic
from resseg.inference.ensemble import Ensemble
from resseg.text import parse_json

TILE = 512  # side of a tile of the result
_LARGEST = 4096  # side of a block, so that a kill costs little
_DEFLATE = 1  # level: masks are mostly one value
_NODATA = (42113, "s", 0, str(VOID), True)  # GDAL's tag
_MADE_OF = "made_of.json"
_CLASSIC = 2**32 - 2**26  # bytes that a TIFF can hold which is no BigTIFF, about


class Stream:
    """One image on its way.

    Attributes:
        total: its blocks.
        target: the TIFF of class indices.
        classes: their names.
    """

    def __init__(
        self,
        source: Windows,
        target: Path,
        ensemble: Ensemble,
        bits: int,
        probabilities: bool = False,
    ):
        """Writes nothing yet.

        Args:
            source: the image.
            target: the file that is to be made.
            ensemble: the networks, with tiles.
            bits: in use, where the image has more than 8.
            probabilities: whether they are written too, as `file_of_probabilities`.
        """
        self._source, self.target, self._ensemble = source, target, ensemble
        self._bits, self._probabilities = bits, probabilities
        self.classes = ensemble.classes
        side = mosaic.block_side(ensemble.grid, len(self.classes))
        self._side = max(1, min(side, _LARGEST) // TILE) * TILE
        self._made_of = self._described()
        height, width = source.size
        self._across = -(-width // self._side)
        self.total = self._across * -(-height // self._side)
        self._parts = target.with_name(f"{target.name}.parts")
        data: Any = ensemble.members[0].config.data
        self._normalizer = Normalizer(data.mean, data.std)

    def _described(self) -> dict[str, Any]:
        """All that the result depends on, as JSON gives it back."""
        path, stat = self._source.path, self._source.path.stat()
        averaging = dataclasses.asdict(self._ensemble.averaging)
        return json.loads(
            json.dumps(
                {
                    "image": [str(path.resolve()), stat.st_size, stat.st_mtime_ns],
                    "size": self._source.size,
                    "block": self._side,
                    "bits": self._bits,
                    "classes": self.classes,
                    "networks": [each.digest for each in self._ensemble.members],
                    "probabilities": self._probabilities,
                    **averaging,
                }
            )
        )

    def is_done(self) -> bool:
        """Whether the result is there, made of the same image and networks."""
        try:
            with tifffile.TiffFile(self.target) as file:
                said = parse_json(file.pages.first.description)
        except (OSError, ValueError, tifffile.TiffFileError):
            return False
        return said == self._made_of

    def left(self) -> list[int]:
        """The blocks that are still to be made; what was made of others is removed."""
        file = self._parts / _MADE_OF
        with contextlib.suppress(OSError, ValueError):
            if parse_json(file.read_bytes()) == self._made_of:
                names = {path.name for path in self._parts.iterdir()}
                return [at for at in range(self.total) if str(at) not in names]
        shutil.rmtree(self._parts, ignore_errors=True)
        with naming(self._parts):
            self._parts.mkdir(parents=True)
            file.write_text(json.dumps(self._made_of))
        return list(range(self.total))

    def make(self, block: int) -> np.ndarray:
        """Predicts a block and puts it aside.

        Returns:
            Pixels of each class in it, int64 `[256]`; void is the last.

        Raises:
            UserError: the image is damaged there.
            OSError: the block cannot be written.
        """
        down, right = divmod(block, self._across)
        rows, columns = (
            slice(at * self._side, min((at + 1) * self._side, length))
            for at, length in zip((down, right), self._source.size, strict=True)
        )
        known = self._known(rows, columns)
        classes = len(self.classes)
        mask = np.full(known.shape, VOID, np.uint8)
        shares = np.zeros(
            (*known.shape, classes if self._probabilities else 0), np.uint8
        )
        if known.any():
            values = self._ensemble.block(self._read, self._source.size, rows, columns)
            mask[known] = values.argmax(-1).astype(np.uint8)[known]
            if self._probabilities:
                shares = np.rint(255 * values).astype(np.uint8)
                shares[~known] = 0
        tiles = list(_tiles(mask[..., None]))
        if self._probabilities:
            tiles += _tiles(shares)
        _write_part(self._parts / str(block), tiles)
        return np.bincount(mask.ravel(), minlength=256)

    def _known(self, rows: slice, columns: slice) -> np.ndarray:
        """Where somebody knows the image, bool `[rows, columns]`."""
        if self._source.is_empty(rows, columns):
            shape = rows.stop - rows.start, columns.stop - columns.start
            return np.zeros(shape, bool)
        return self._source.read(rows, columns)[1]

    def finish(self) -> None:
        """Puts the blocks in order: the result is there, or nothing of it.

        Raises:
            OSError: it cannot be written.
        """
        self._assemble(self.target, 0)
        if self._probabilities:
            self._assemble(file_of_probabilities(self.target), 1)
        shutil.rmtree(self._parts)

    def _read(self, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        top, left = int(rows.min()), int(columns.min())
        down, right = (
            slice(begin, int(at.max()) + 1)
            for begin, at in ((top, rows), (left, columns))
        )
        picture, _ = self._source.read(down, right)
        image = depth.in_8_bits(picture, self._bits)[np.ix_(rows - top, columns - left)]
        normal = np.empty(image.shape, np.float32)
        self._normalizer.put(np.ascontiguousarray(image), normal)
        return normal

    def _assemble(self, target: Path, kind: int) -> None:
        height, width = self._source.size
        classes = len(self.classes)
        size = sum(path.stat().st_size for path in self._parts.iterdir())
        settings: dict[str, Any] = {
            "shape": (height, width),
            "photometric": "palette",
            "colormap": _colormap(classes),
        }
        tags: list[Any] = [(*tag, True) for tag in self._source.geo_tags]
        if kind:
            settings = {
                "shape": (height, width, classes),
                "photometric": "minisblack",
                "planarconfig": "contig",
            }
        elif self._source.marked:
            tags.append(_NODATA)
        partial = target.with_name(f"{target.name}.partial")
        with (
            naming(partial),
            tifffile.TiffWriter(partial, bigtiff=size > _CLASSIC) as to,
        ):
            to.write(
                self._ordered(kind),
                **settings,
                dtype=np.uint8,
                tile=(TILE, TILE),
                compression="adobe_deflate",
                description=json.dumps(self._made_of),
                metadata=None,
                extratags=tags,
            )
        os.replace(partial, target)

    def _ordered(self, kind: int) -> Iterator[bytes]:
        """Compressed tiles of the result, row by row."""
        height, width = (-(-length // TILE) for length in self._source.size)
        each = self._side // TILE
        for row in range(height):
            for column in range(width):
                block = row // each * self._across + column // each
                inside = min(each, width - column // each * each)
                number = row % each * inside + column % each
                rows = min(each, height - row // each * each)
                yield _read_part(
                    self._parts / str(block), number + kind * rows * inside
                )


def file_of_probabilities(target: Path) -> Path:
    """Beside the class indices: 255 times each probability, a band for each class."""
    return target.with_name(f"{target.stem}_probabilities.tif")


def _tiles(values: np.ndarray) -> Iterator[bytes]:
    """Compressed tiles of `[height, width, channels]`, row by row, filled up with 0."""
    for top in range(0, len(values), TILE):
        for left in range(0, values.shape[1], TILE):
            part = values[top : top + TILE, left : left + TILE]
            missing = [(0, TILE - side) for side in part.shape[:2]]
            yield zlib.compress(np.pad(part, [*missing, (0, 0)]).tobytes(), _DEFLATE)


def _write_part(path: Path, tiles: list[bytes]) -> None:
    """All of it, or nothing: the length of each tile, their number, then the tiles."""
    partial = path.with_name(f"{path.name}.partial")
    lengths = struct.pack(f"<{len(tiles) + 1}Q", len(tiles), *map(len, tiles))
    with naming(path):
        with partial.open("wb") as file:
            file.write(lengths)
            file.writelines(tiles)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)


def _read_part(path: Path, number: int) -> bytes:
    with path.open("rb") as file:
        (count,) = struct.unpack("<Q", file.read(8))
        lengths = struct.unpack(f"<{count}Q", file.read(8 * count))
        file.seek(sum(lengths[:number]), os.SEEK_CUR)
        tile = file.read(lengths[number])
    if len(tile) != lengths[number]:
        raise UserError(f"{path}: damaged; remove it and start again")
    return tile


def _colormap(classes: int) -> np.ndarray:
    """uint16 `[3, 256]`, as TIFF stores a palette; void is black."""
    colors = np.zeros((256, 3), np.uint16)
    colors[:classes] = palette(classes)
    return colors.T * 257
