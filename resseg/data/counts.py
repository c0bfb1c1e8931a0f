"""Sizes and class pixels of every image of a split, counted once and kept beside it."""

import dataclasses
import os
import tempfile
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from resseg.data.records import Examples
from resseg.data.spec import VOID, DatasetSpec
from resseg.errors import UserError


@dataclasses.dataclass(frozen=True)
class Counts:
    """What the masks of a split hold, by image.

    Attributes:
        sizes: height and width in pixels, int32 `[images, 2]`.
        pixels: labelled pixels of each class, int64 `[images, classes]`.
        void: pixels that count nowhere, int64 `[images]`.
    """

    sizes: np.ndarray
    pixels: np.ndarray
    void: np.ndarray


def count(source: Examples, spec: DatasetSpec, threads: int = 2) -> Counts:
    """Reads every image of a source and counts.

    Args:
        source: a split, as `resseg.data.sources.open_split` returns it.
        spec: of the data set.
        threads: that decode at the same time.

    Raises:
        UserError: an image cannot be read, or its mask holds an index that is neither
            a class nor void.
    """

    def examine(index: int) -> tuple[tuple[int, int], np.ndarray]:
        record = source[index]
        histogram = np.bincount(record["mask"].ravel(), minlength=256)
        beyond = np.flatnonzero(histogram[spec.num_classes : VOID])
        if beyond.size:
            raise UserError(
                f"data set {spec.name}: mask of {record['name']!r} holds index "
                f"{spec.num_classes + int(beyond[0])}; expected 0 to "
                f"{spec.num_classes - 1}, or {VOID} for void"
            )
        return record["mask"].shape, histogram

    with ThreadPoolExecutor(max(1, threads)) as pool:
        sizes, histograms = zip(*pool.map(examine, range(len(source))), strict=True)
    table = np.array(histograms, np.int64)
    return Counts(
        sizes=np.array(sizes, np.int32),
        pixels=table[:, : spec.num_classes],
        void=table[:, VOID],
    )


def load(file: Path) -> Counts | None:
    """Counts that `store` kept, or None where there are none."""
    try:
        with zipfile.ZipFile(file) as archive:
            # `store` compresses nothing: what is unpacked takes what the file takes.
            if any(each.compress_type for each in archive.infolist()):
                return None
        with np.load(file, allow_pickle=False) as stored:
            return Counts(stored["sizes"], stored["pixels"], stored["void"])
    except (OSError, KeyError, ValueError, MemoryError, zipfile.BadZipFile):
        return None


def store(file: Path, counts: Counts) -> None:
    """Keeps the counts; they only save time, so a folder that is read-only is fine."""
    try:
        # Two processes that count at once must not read each other's half.
        descriptor, partial = tempfile.mkstemp(dir=file.parent)
        with os.fdopen(descriptor, "wb") as stream:
            np.savez(stream, **dataclasses.asdict(counts))
        os.replace(partial, file)
    except OSError:
        return


def median_frequency_weights(pixels: np.ndarray) -> np.ndarray:
    """Class weights: the median class frequency over each class's own.

    Eigen & Fergus 2015, "Predicting Depth, Surface Normals and Semantic Labels with a
    Common Multi-Scale Convolutional Architecture": the frequency of a class is its
    pixels over all labelled pixels of those images that show the class.

    Args:
        pixels: `[images, classes]`; a plain `[classes]` counts as one image, which
            makes the frequency the share of all pixels.

    Returns:
        float32 `[classes]`. A class that never occurs has no frequency: it does not
        enter the median, and its weight is 1.
    """
    table = np.atleast_2d(np.asarray(pixels, np.float64))
    around = ((table > 0) * table.sum(axis=1, keepdims=True)).sum(axis=0)
    occurs = around > 0
    weights = np.ones(table.shape[1], np.float32)
    if occurs.any():
        frequency = table.sum(axis=0)[occurs] / around[occurs]
        weights[occurs] = np.median(frequency) / frequency
    return weights
