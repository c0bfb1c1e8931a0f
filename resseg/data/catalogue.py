"""Data sets of the TFDS catalogue that carry masks, in the terms of this package.

The builders belong to TFDS; what they prepared is opened from disk here, without
TensorFlow. `catalogue_entries` says what their features and mask values mean.
"""

import importlib.util
from pathlib import Path

import numpy as np

from resseg.data.catalogue_entries import ENTRIES, Entry, find
from resseg.data.records import open_builder, read_record
from resseg.data.spec import DatasetSpec
from resseg.data.stored import decode_image
from resseg.errors import UserError, choose

__all__ = [
    "ENTRIES",
    "CatalogueSource",
    "Entry",
    "find",
    "how_to_prepare",
    "is_prepared",
    "open",
    "prepare",
    "spec",
]


def spec(entry: Entry, data_dir: str | Path) -> DatasetSpec:
    """Classes and image counts of a prepared catalogue data set.

    Raises:
        UserError: it is not prepared in `data_dir`, or damaged.
    """
    splits = open_builder(_directory(entry, data_dir)).info.splits
    counts = {
        name: splits[stored].num_examples for name, stored in entry.splits.items()
    }
    return DatasetSpec(entry.name, entry.classes, counts)


def open(entry: Entry, data_dir: str | Path, split: str) -> "CatalogueSource":
    """Opens one split for random access.

    Raises:
        UserError: the data set is not prepared, is incomplete, or has no such split.
    """
    choose(f"split of data set {entry.name}", split, entry.splits)
    return CatalogueSource(entry, data_dir, split)


class CatalogueSource:
    """One split of a catalogue data set; records as `sources.Source` gives them."""

    def __init__(self, entry: Entry, data_dir: str | Path, split: str):
        import tensorflow_datasets as tfds

        self.spec = spec(entry, data_dir)
        self.split = split
        self._entry = entry
        self._folder = folder = _directory(entry, data_dir)
        skip = tfds.decode.SkipDecoding()
        self._records = open_builder(folder).as_data_source(
            entry.splits[split], decoders={entry.image: skip, entry.mask: skip}
        )
        if len(self._records) != len(self):
            raise UserError(
                f"{folder}: split {entry.splits[split]!r} holds {len(self._records)} "
                f"images, its description says {len(self)}; prepare {entry.name} again"
            )

    def __len__(self) -> int:
        return self.spec.splits[self.split]

    def __getitem__(self, index: int) -> dict:
        """Reads one image.

        Returns:
            `image` uint8 RGB `[height, width, 3]`, `mask` uint8 `[height, width]` of
            class indices and void, and `name`.

        Raises:
            UserError: the record cannot be decoded, or the mask holds a value that the
                entry does not know; the message names the image.
        """
        if not 0 <= index < len(self):
            raise IndexError(f"{self.split}[{index}] of {len(self)} images")
        entry = self._entry
        encoded_name, encoded_image, encoded_mask = self.stored(index)
        name = encoded_name.decode()
        image = decode_image(encoded_image)
        stored = decode_image(encoded_mask)
        if image is None or stored is None:
            raise UserError(f"data set {entry.name}: {name!r} cannot be decoded")
        values = stored[..., 0]  # three equal channels, or the class in the red one
        classes = _table(entry)[values]
        if classes.min() < 0:
            wrong = int(values[classes < 0][0])
            raise UserError(
                f"data set {entry.name}: mask of {name!r} holds {wrong}, no known class"
            )
        return {"image": image, "mask": classes.astype(np.uint8), "name": name}

    def stored(self, index: int) -> tuple[bytes, bytes, bytes]:
        """See `records.Examples`."""
        entry = self._entry
        record = read_record(
            self._records, index, self._folder, entry.splits[self.split]
        )
        name = f"{self.split}-{index:06d}"
        if entry.record_name is not None:
            name = Path(record[entry.record_name].decode()).stem
        return name.encode(), record[entry.image], record[entry.mask]


def _table(entry: Entry) -> np.ndarray:
    """int16 `[256]`: mask value to class index, -1 where the entry knows none."""
    table = np.full(256, -1, np.int16)
    table[list(entry.values)] = list(entry.values.values())
    return table


def prepare(entry: Entry, data_dir: str | Path) -> DatasetSpec:
    """Downloads the data set and writes it as `array_record` under `data_dir`.

    The catalogue's builders unpack archives with TensorFlow; it is needed for this one
    step and for nothing else, so another environment, or machine, can take it.

    Raises:
        UserError: TensorFlow is missing, or files that only the user can fetch are.
    """
    if importlib.util.find_spec("tensorflow") is None:
        raise UserError(how_to_prepare(entry, data_dir, field="NAME"))
    import tensorflow_datasets as tfds

    builder = tfds.builder(entry.builder, data_dir=data_dir, file_format="array_record")
    try:
        builder.download_and_prepare()
    except AssertionError as error:  # so TFDS says that manual files are missing
        raise UserError(f"{entry.name}: {error}") from None
    return spec(entry, data_dir)


def how_to_prepare(
    entry: Entry, data_dir: str | Path, field: str = "config.data.name"
) -> str:
    """One line: the command that prepares an entry, and where it runs.

    Args:
        entry: what is not prepared.
        data_dir: where prepared data sets live.
        field: what the user said its name with.
    """
    first = ""
    if entry.needs:
        first = f"put {entry.needs} into {data_dir}/downloads/manual; "
    return (
        f"{field}={entry.name!r}: not prepared in {data_dir}; {first}"
        "with TensorFlow installed, in this or another environment, run: "
        'python -c "import tensorflow_datasets as tfds; '
        f"tfds.builder('{entry.builder}', data_dir='{data_dir}', "
        "file_format='array_record').download_and_prepare()\""
        + (f"; or {entry.as_folder}" if entry.as_folder else "")
    )


def is_prepared(entry: Entry, data_dir: str | Path) -> bool:
    """True where a version of it lies in `data_dir`."""
    return bool(_versions(entry, data_dir))


def _directory(entry: Entry, data_dir: str | Path) -> Path:
    """The newest prepared version."""
    versions = _versions(entry, data_dir)
    if not versions:
        raise UserError(how_to_prepare(entry, data_dir))
    return max(versions, key=lambda path: [int(part) for part in path.name.split(".")])


def _versions(entry: Entry, data_dir: str | Path) -> list[Path]:
    descriptions = (Path(data_dir) / entry.builder).glob("*/dataset_info.json")
    return [path.parent for path in descriptions]
