"""The folder of an export: written whole, compared, or not there."""

import contextlib
import dataclasses
import hashlib
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from resseg.errors import UserError
from resseg.export import comparison
from resseg.export.comparison import Difference
from resseg.export.format import Format
from resseg.export.formats import FORMATS
from resseg.export.network import ExportedNetwork
from resseg.inference.segmenter import Segmentation

CARD, FACTS = "README.md", "export.json"
OWN = (CARD, FACTS, *(each.file for each in FORMATS.values()))


class Images(NamedTuple):
    """What an export is compared on.

    Attributes:
        source: where they are from, in words.
        arrays: uint8 RGB, each `[height, width, 3]`.
    """

    source: str
    arrays: Sequence[np.ndarray]


class Written(NamedTuple):
    """A file of an export.

    Attributes:
        file: its name.
        size: bytes.
        sha256: of its content.
        contract: what it takes and computes in, in words.
        difference: from the network.
    """

    file: str
    size: int
    sha256: str
    contract: str
    difference: Difference

    def facts(self) -> dict[str, Any]:
        """Ready for JSON."""
        return self._asdict() | {"difference": dataclasses.asdict(self.difference)}


def check_free(out: Path, overwrite: bool) -> None:
    """That an export can go to a folder.

    Raises:
        UserError: it is a file, holds something else, or an export that is not to be
            replaced.
    """
    if not out.exists():
        return
    if not out.is_dir():
        raise UserError(f"--out {out}: is a file, expected a folder")
    other = sorted({path.name for path in out.iterdir()} - {*OWN})
    if other:
        raise UserError(
            f"--out {out}: holds {other[0]}, which is of no export; choose another "
            "folder"
        )
    if any(out.iterdir()) and not overwrite:
        raise UserError(
            f"--out {out}: holds an export; --overwrite replaces it by this one"
        )


@contextlib.contextmanager
def beside(out: Path) -> Iterator[Path]:
    """A folder that takes the place of `out` when all within went well."""
    out = out.resolve()
    out.parent.mkdir(parents=True, exist_ok=True)
    partial, before = (
        out.parent / f".{out.name}.{os.getpid()}.{word}" for word in ("partial", "old")
    )
    partial.mkdir()
    try:
        yield partial
        if out.exists() and any(out.iterdir()):
            os.replace(out, before)
        os.replace(partial, out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        if before.exists() and not out.exists():
            os.replace(before, out)
        shutil.rmtree(before, ignore_errors=True)


class _Wanted:
    """What the network says of images, in what a format computes in."""

    def __init__(self, network: ExportedNetwork, images: Sequence[np.ndarray]):
        self._network, self._images = network, images
        self._known: dict[int, list[Segmentation]] = {}

    def of(self, each: Format) -> list[Segmentation]:
        """One of each image, alone in its batch as it is in the export's."""
        network = self._network
        trained = network.in_single if each.single else network.trained
        if id(trained) not in self._known:
            segment = comparison.alone(trained)
            self._known[id(trained)] = [segment(image) for image in self._images]
        return self._known[id(trained)]


def write_files(
    folder: Path,
    formats: Mapping[str, Format],
    network: ExportedNetwork,
    images: Images,
    tolerance: float,
) -> dict[str, Written]:
    """Writes a file for each format and compares it with the network.

    Raises:
        UserError: one of them cannot be written, or computes something else.
    """
    arrays = [comparison.fitted(image, network.size) for image in images.arrays]
    wanted, written = _Wanted(network, arrays), {}
    for name, each in formats.items():
        path = folder / each.file
        each.write(network, path)
        kind = each.scores or network.scores
        difference = comparison.compare(
            each.load(path), arrays, wanted.of(each), kind, tolerance
        )
        if difference.fault:
            raise UserError(
                f"--format {name}: not what the network computes on "
                f"{len(arrays)} images of {images.source}: {difference.fault}, "
                f"expected at most {tolerance:g}; nothing was written"
            )
        content = path.read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        written[name] = Written(
            each.file, len(content), digest, each.contract, difference
        )
    return written
