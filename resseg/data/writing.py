"""Writing a data set: all of it, or nothing."""

import contextlib
import io
import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import tensorflow_datasets as tfds

from resseg import text
from resseg.data import contents, counts, mask_files, reading
from resseg.data.headers import read_header
from resseg.data.records import Source, damaged
from resseg.data.spec import DatasetSpec
from resseg.errors import UserError

VERSION = "1.0.0"  # of how records are laid out
_SPEC_FILE = "resseg.json"
_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG = b"\xff\xd8\xff"

Records = Callable[[], Iterable[dict]]


class _Builder(tfds.dataset_builders.AdhocBuilder, skip_registration=True):
    def _split_generators(self, dl_manager: Any) -> Any:
        # The inherited method asks for tf.data, and so for TensorFlow.
        return dict(self._split_datasets)


def write_dataset(
    data_dir: str | Path,
    name: str,
    classes: Sequence[str],
    splits: Mapping[str, Records],
    *,
    bits: int = 8,
    variant: str = "",
    overwrite: bool = False,
    labels: Mapping[str, str] | None = None,
) -> DatasetSpec:
    """Writes a data set; it appears under its name only when it is complete.

    Every image is read back once before that, which also counts its class pixels.

    Args:
        data_dir: folder of all data sets; made if need be.
        name: lower-case letters, digits, underscores; not yet taken.
        classes: class names, by class index.
        splits: split name to a function that yields dicts with `image`, `mask` and
            `name`; called once. Image and mask may each be a path or the bytes of a
            file (image: JPEG or PNG; mask: 8-bit grey PNG), stored byte for byte, or
            an array (uint8 RGB; uint8 class indices), stored as PNG. Files that
            decoders read in several ways (deep, palette, turned by EXIF) are refused.
        bits: that were in use by images of more than 8; recorded, see `DatasetSpec`.
        variant: name of an inner folder, where a data set exists in several forms.
        overwrite: replace a data set of this name, once the new one is complete.
        labels: how objects became masks, where they did; kept, see `read_labels`.

    Raises:
        UserError: name taken or unusable, no write permission, an empty split, a file
            of another kind, a mask with an index outside the classes. Nothing is left
            behind.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise UserError(
            f"data set name {name!r}: expected lower-case letters, digits and "
            "underscores, a letter first"
        )
    if not splits:
        raise UserError(f"data set {name}: has no split")
    target = dataset_folder(data_dir, name, variant)
    if target.exists() and not overwrite:
        raise UserError(f"{target}: exists already; choose another name or remove it")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        unfinished = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=data_dir))
    except OSError as error:
        raise UserError(f"{data_dir}: cannot write there ({error.strerror})") from error
    try:
        spec, folder = _write(unfinished, name, tuple(classes), splits, bits, labels)
        replaced = unfinished / "replaced"
        if overwrite and target.exists():
            os.replace(target, replaced)
        try:
            os.rename(folder, target)
        except OSError:
            if replaced.exists():
                os.replace(replaced, target)
            raise
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return spec


def dataset_folder(data_dir: str | Path, name: str, variant: str = "") -> Path:
    """Where a data set of this name lies, or would lie."""
    return Path(data_dir, name, variant, VERSION)


def is_complete(folder: Path) -> bool:
    """True where `write_dataset` finished a data set in this folder."""
    return (folder / _SPEC_FILE).is_file()


def read_spec(folder: Path) -> DatasetSpec:
    """Reads back what `write_dataset` returned.

    Raises:
        UserError: the file that holds it is damaged.
    """
    file = folder / _SPEC_FILE
    try:
        content = text.parse_json(file.read_text(encoding="utf-8"))
        names, splits = tuple(content["classes"]), content["splits"]
        return DatasetSpec(content["name"], names, splits, content.get("bits"))
    except (ValueError, KeyError, TypeError) as error:
        raise damaged(file, error) from error


def read_labels(folder: Path) -> dict[str, str] | None:
    """How objects became the masks of a data set; None where nobody recorded it.

    Raises:
        UserError: the file that holds it is damaged.
    """
    file = folder / _SPEC_FILE
    try:
        known = text.parse_json(file.read_text(encoding="utf-8")).get("labels")
        return None if known is None else {str(k): str(v) for k, v in known.items()}
    except (ValueError, AttributeError) as error:
        raise damaged(file, error) from error


def _write(
    root: Path,
    name: str,
    classes: tuple[str, ...],
    splits: Mapping[str, Records],
    bits: int,
    labels: Mapping[str, str] | None,
) -> tuple[DatasetSpec, Path]:
    written = dict.fromkeys(splits, 0)

    def encoded(split: str) -> Iterator[tuple[str, dict]]:
        for record in splits[split]():
            place, own = f"data set {name}, split {split}", repr(record["name"])
            image = _image_bytes(record["image"], f"{place}: image of {own}")
            mask = _mask_bytes(record["mask"], f"{place}: mask of {own}")
            key = f"{written[split]:08d}"
            yield key, {"image": image, "mask": mask, "name": record["name"]}
            written[split] += 1
        if not written[split]:
            raise UserError(f"data set {name}: split {split!r} is empty")

    builder = _Builder(
        name=name,
        version=VERSION,
        features=tfds.features.FeaturesDict(
            {
                "image": tfds.features.Image(shape=(None, None, 3)),
                "mask": tfds.features.Image(
                    shape=(None, None, 1), dtype=np.uint8, encoding_format="png"
                ),
                "name": tfds.features.Text(),
            }
        ),
        split_datasets={split: encoded(split) for split in splits},
        data_dir=str(root),
        description="Images and class-index masks, written by resseg.",
        file_format="array_record",  # parquet loses records in TFDS 4.9.10
        disable_shuffling=True,  # records keep the order they come in
    )
    tfds.disable_progress_bar()
    try:
        # TFDS announces the size of a download that does not take place.
        with contextlib.redirect_stdout(io.StringIO()):
            builder.download_and_prepare()
    finally:
        tfds.enable_progress_bar()

    folder = Path(builder.data_dir)
    spec = DatasetSpec(name, classes, written, bits)
    for split in written:
        source = Source(folder, spec, split)
        counts.store(counts_file(folder, split), counts.count(source, spec))
        contents.store(contents_file(folder, split), contents.digest(source))
    content = {"name": name, "classes": classes, "splits": written, "bits": bits}
    if labels is not None:
        content["labels"] = dict(labels)
    text.write(folder / _SPEC_FILE, json.dumps(content, indent=1))
    return spec, folder


def counts_file(folder: Path, split: str) -> Path:
    """Where the counts of a split are kept."""
    return folder / f"counts-{split}.npz"


def contents_file(folder: Path, split: str) -> Path:
    """Where the digest of a split is kept."""
    return folder / f"contents-{split}.sha256"


def images_file(folder: Path, split: str) -> Path:
    """Where the digests of the images of a split are kept."""
    return folder / f"images-{split}.sha256"


def _image_bytes(value: object, label: str) -> bytes:
    if isinstance(value, np.ndarray):
        if value.dtype != np.uint8 or value.ndim != 3 or value.shape[2] != 3:
            raise UserError(
                f"{label}: array is {value.dtype} {value.shape}; "
                "expected uint8 (height, width, 3)"
            )
        return _png(cv2.cvtColor(value, cv2.COLOR_RGB2BGR))
    content = _content(value)
    if not content.startswith((_PNG, _JPEG)):
        raise UserError(f"{label}: neither PNG nor JPEG")
    header = read_header(label, content)
    if not reading.may_stay(header):
        raise UserError(
            f"{label}: {header.words}, orientation {header.orientation}; expected "
            "upright grey or RGB of 8 bits, or an array"
        )
    return content


def _mask_bytes(value: object, label: str) -> bytes:
    if isinstance(value, np.ndarray):
        if value.dtype != np.uint8 or value.ndim != 2:
            raise UserError(
                f"{label}: array is {value.dtype} {value.shape}; "
                "expected uint8 (height, width)"
            )
        return _png(value)
    content = _content(value)
    # Decoders stretch fewer bits to 0 ... 255 and turn a palette into colours: other
    # numbers.
    if not mask_files.may_stay(read_header(label, content)):
        raise UserError(f"{label}: not an 8-bit grey PNG, upright and alone")
    return content


def _content(value: object) -> bytes:
    return value if isinstance(value, bytes) else Path(str(value)).read_bytes()


def _png(pixels: np.ndarray) -> bytes:
    return cv2.imencode(".png", pixels)[1].tobytes()
