"""Data sets on disk: finding them, opening them.

A data set is a folder `<data.dir>/<name>/<version>` of TFDS array_record files, which
`tfds.builder_from_directory` opens without any code of ours, and a `resseg.json` with
the class names. Neither writing nor reading it needs TensorFlow.
"""

import dataclasses
import json
import os
import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from resseg.data import catalogue, contents, counts, shapes
from resseg.data.catalogue_entries import Entry
from resseg.data.records import Examples, Source
from resseg.data.spec import VOID, DatasetSpec
from resseg.data.writing import (
    contents_file,
    counts_file,
    dataset_folder,
    images_file,
    is_complete,
    read_labels,
    read_spec,
    write_dataset,
)
from resseg.errors import UserError, choose, nearest

__all__ = [
    "Examples",
    "Source",
    "count_split",
    "dataset_spec",
    "fingerprint",
    "is_unlabelled",
    "labels_of",
    "open_split",
    "prepared",
    "shared_images",
    "write_dataset",
]


def dataset_spec(data_config) -> DatasetSpec:
    """Describes the data set that `config.data` names; generates `shapes` if need be.

    Args:
        data_config: the `data` section of a config; `name`, `dir` and, for the
            embedded data set, `shapes` are read.

    Raises:
        UserError: the data set is not prepared; the message says how it is.
    """
    place = _place(data_config)
    if isinstance(place, Path):
        return read_spec(place)
    return catalogue.spec(place, data_config.dir)


def open_split(data_config, split: str) -> Examples:
    """Opens one split of the data set that `config.data` names.

    Raises:
        UserError: the data set is not prepared, or has no such split.
    """
    spec = dataset_spec(data_config)
    choose(f"split of data set {spec.name}", split, spec.splits)
    place = _place(data_config)
    if isinstance(place, Path):
        return Source(place, spec, split)
    return catalogue.open(place, data_config.dir, split)


def count_split(data_config, split: str) -> counts.Counts:
    """Sizes and class pixels of every image of a split; kept on disk once counted.

    Raises:
        UserError: as `open_split`; or a mask holds an index that is no class.
    """
    source = open_split(data_config, split)
    spec = dataset_spec(data_config)
    file = counts_file(_folder(data_config), split)
    known = counts.load(file)
    if known is None or known.pixels.shape != (len(source), spec.num_classes):
        known = counts.count(source, spec, data_config.threads)
        counts.store(file, known)
    return known


def is_unlabelled(data_config, split: str) -> bool:
    """Whether a split is known to have no labelled pixel; nothing is counted for it."""
    known = counts.load(counts_file(_folder(data_config), split))
    return known is not None and not known.pixels.any()


def fingerprint(data_config, splits: Iterable[str]) -> dict[str, Any]:
    """What a data set is, as a run keeps it: equal as long as nothing has changed.

    Args:
        data_config: the `data` section of a config.
        splits: whose contents are meant.

    Returns:
        All that the spec says, the index of void, and `contents`, a digest by split;
        ready for JSON.

    Raises:
        UserError: as `open_split`.
    """
    said = dataclasses.asdict(dataset_spec(data_config))
    known = {split: _contents(data_config, split) for split in splits}
    values = said | {"void": VOID, "contents": known}
    return json.loads(json.dumps(values))


def shared_images(data_config, split: str, trained_config, trained: str) -> list[str]:
    """Names of the images of a split that stand in another one too.

    Args:
        data_config: the `data` section of a config.
        split: name of the split.
        trained_config: the `data` section of that of the other split.
        trained: name of the other split.

    Raises:
        UserError: as `open_split`.
    """
    known = set(_image_digests(trained_config, trained))
    source = open_split(data_config, split)
    digests = _image_digests(data_config, split)
    return [
        source.stored(index)[0].decode()
        for index, digest in enumerate(digests)
        if digest in known
    ]


def labels_of(data_config) -> dict[str, str] | None:
    """How objects became the masks of a data set; None where they were masks.

    Raises:
        UserError: as `dataset_spec`.
    """
    place = _place(data_config)
    return read_labels(place) if isinstance(place, Path) else None


def _image_digests(data_config, split: str) -> list[str]:
    source = open_split(data_config, split)
    file = images_file(_folder(data_config), split)
    known = contents.load_image_digests(file, len(source))
    if known is None:
        known = contents.image_digests(source)
        contents.store(file, "\n".join(known))
    return known


def _folder(data_config) -> Path:
    """Where what is known of a data set is kept."""
    place = _place(data_config)
    return Path(data_config.dir, place.name) if isinstance(place, Entry) else place


def _contents(data_config, split: str) -> str:
    source = open_split(data_config, split)
    file = contents_file(_folder(data_config), split)
    known = contents.load(file)
    if known is None:
        known = contents.digest(source)
        contents.store(file, known)
    return known


def prepared(data_dir: str | Path) -> list[str]:
    """Names of the data sets that `resseg data prepare` wrote into a folder.

    Raises:
        UserError: it is a file, or cannot be read; one that is missing has none.
    """
    try:
        names = os.listdir(data_dir)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise UserError(
            f"{data_dir}: {error.strerror}; expected the folder of data sets"
        ) from error
    small = (name for name in names if "a" <= name[0] <= "z")
    return sorted(name for name in small if is_complete(dataset_folder(data_dir, name)))


def _place(data_config) -> Path | Entry:
    """Folder of a prepared data set, or the entry of the TFDS catalogue."""
    name, data_dir = data_config.name, data_config.dir
    if name == "shapes":
        return shapes.prepare(data_config)
    folder = dataset_folder(data_dir, name)
    if is_complete(folder):
        return folder
    entry = catalogue.find(name)
    if entry is None:
        hint = nearest(name, ["shapes", *prepared(data_dir)])
        words = ["resseg", "data", "prepare", name]
        if Path(data_dir) != Path("data"):
            words += ["--dir", str(data_dir)]
        words += ["--images", "DIR", "--masks", "DIR", "--classes", "NAMES"]
        raise UserError(
            f"config.data.name={name!r}: not prepared in {data_dir}; "
            f"run: {shlex.join(words)}{hint}"
        )
    return entry
