"""One split of a prepared data set, read in any order."""

import os
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import tensorflow_datasets as tfds

from resseg.data.spec import DatasetSpec
from resseg.data.stored import decode_image, decode_mask
from resseg.errors import UserError
from resseg.text import parse_json

_FEATURES = "features.json"
_CLASS, _OWN_CLASSES = "pythonClassName", "tensorflow_datasets."


class Examples(Protocol):
    """What every opened split offers, to threads and to other processes.

    An item holds `image` uint8 RGB `[height, width, 3]`, `mask` uint8
    `[height, width]` of class indices and void, and `name`.
    """

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> dict: ...

    def stored(self, index: int) -> tuple[bytes, bytes, bytes]:
        """Name, image and mask as they lie in the files."""
        ...


class Source:
    """One split of a data set: for any thread, and for any process it is sent to.

    Attributes:
        spec: names and counts of the data set.
        split: name of the split.
    """

    def __init__(self, directory: str | Path, spec: DatasetSpec, split: str):
        """Opens a prepared folder.

        Args:
            directory: the version folder, with `dataset_info.json`.
            spec: what the data set is.
            split: name of the split.

        Raises:
            UserError: files are damaged, or disagree with their description on the
                number of images.
        """
        self.spec = spec
        self.split = split
        self._folder = Path(directory)
        # TFDS decorates its methods, which hides what they take.
        builder: Any = open_builder(directory)
        # TFDS would decode with what it finds, Pillow or OpenCV; here it is said.
        skip = tfds.decode.SkipDecoding()
        self._records = builder.as_data_source(
            split, decoders={"image": skip, "mask": skip}
        )
        declared = builder.info.splits[split].num_examples
        if not len(self._records) == declared == spec.splits[split]:
            raise UserError(
                f"{directory}: split {split!r} holds {len(self._records)} images, its "
                f"descriptions say {declared} and {spec.splits[split]}; prepare the "
                "data set again"
            )
        # A file that was cut short cannot be read at all: better known at once.
        self._read(0)

    def __len__(self) -> int:
        return self.spec.splits[self.split]

    def __getitem__(self, index: int) -> dict:
        """Reads one image.

        Returns:
            `image` uint8 RGB `[height, width, 3]`, `mask` uint8 `[height, width]` of
            class indices and void, and `name`.

        Raises:
            UserError: the record cannot be read or decoded; the message names the file
                or the image.
        """
        if not 0 <= index < len(self):
            raise IndexError(f"{self.split}[{index}] of {len(self)} images")
        record = self._read(index)
        name = record["name"].decode()
        image = self._whole(decode_image(record["image"]), f"image of {name!r}")
        mask = self._whole(decode_mask(record["mask"]), f"mask of {name!r}")
        if image.shape[:2] != mask.shape:
            raise self._error(
                f"{name!r}: image is {_size(image)} and mask {_size(mask)} pixels"
            )
        return {"image": image, "mask": mask, "name": name}

    def stored(self, index: int) -> tuple[bytes, bytes, bytes]:
        """See `Examples`."""
        record = self._read(index)
        return record["name"], record["image"], record["mask"]

    def _read(self, index: int) -> dict:
        return read_record(self._records, index, self._folder, self.split)

    def _whole(self, decoded: np.ndarray | None, what: str) -> np.ndarray:
        if decoded is None:
            raise self._error(f"{what} cannot be decoded")
        return decoded

    def _error(self, message: str) -> UserError:
        where = f"data set {self.spec.name}, split {self.split}"
        file = _shards(self._folder, self.split)
        return UserError(f"{where}: {message}; its records are {file}")


def open_builder(directory: str | Path) -> Any:
    """The TFDS builder of a prepared folder.

    Raises:
        UserError: what describes it is missing or damaged; names the file.
    """
    folder = Path(directory)
    _check_features(folder / _FEATURES)
    try:
        return tfds.builder_from_directory(str(folder))
    except MemoryError:
        raise
    except Exception as error:  # TFDS, protobuf and JSON each raise their own
        for name in ("dataset_info.json", _FEATURES):
            if not (folder / name).is_file():
                raise damaged(folder / name, "missing") from error
        raise damaged(f"{folder / 'dataset_info.json'} or features.json", error) from (
            error
        )


def _check_features(file: Path) -> None:
    """That a data set is described by what is in TFDS.

    TFDS imports whatever module the description names.

    Raises:
        UserError: it names another one.
    """
    if not file.is_file():
        return
    try:
        described = parse_json(file.read_bytes())
    except ValueError as error:
        raise damaged(file, error) from error
    for name in _named_classes(described):
        if not name.startswith(_OWN_CLASSES):
            raise damaged(file, f"{_CLASS} is {name!r}, which resseg does not write")


def _named_classes(described: Any) -> Iterator[str]:
    if isinstance(described, dict):
        for key, value in described.items():
            if key in (_CLASS, "python_class_name", "type") and isinstance(value, str):
                yield value
            yield from _named_classes(value)
    elif isinstance(described, list):
        for value in described:
            yield from _named_classes(value)


def read_record(records: Any, index: int, folder: Path, split: str) -> dict:
    """A stored record, encoded as it is.

    Raises:
        UserError: its file is missing or damaged.
    """
    try:
        record = records[index]
    except (RuntimeError, OSError, ValueError) as error:
        raise damaged(_shards(folder, split), error) from error
    # So a file is read that was cut at the end of a block.
    if any(value is None for value in record.values()):
        raise damaged(_shards(folder, split), f"no record {index}")
    return record


def _shards(folder: Path, split: str) -> Path:
    """The file of a split, or a pattern for its files."""
    pattern = f"*-{split}.array_record-*"
    shards = list(folder.glob(pattern))
    return shards[0] if len(shards) == 1 else folder / pattern


def damaged(file: str | Path, reason: object) -> UserError:
    """The error that names a damaged file of a data set, and what to do.

    Where the system refuses to read it, that is all that is known.
    """
    refused = reason if isinstance(reason, OSError) else _refusal(file)
    if refused is not None and refused.errno:
        return UserError(f"{file}: cannot be read: {os.strerror(refused.errno)}")
    short = textwrap.shorten(str(reason), 80)
    return UserError(
        f"{file}: damaged ({short}); restore it from a copy, or move its folder away "
        "and prepare the data set again (shapes makes itself again)"
    )


def _refusal(file: str | Path) -> OSError | None:
    """What the system says of reading a file; the libraries below say it in prose."""
    try:
        with open(file, "rb"):
            return None
    except FileNotFoundError:
        return None
    except OSError as error:
        return error


def _size(array: np.ndarray) -> str:
    return f"{array.shape[1]} x {array.shape[0]}"
