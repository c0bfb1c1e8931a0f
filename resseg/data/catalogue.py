"""Data sets of the TFDS catalogue that carry masks, in the terms of this package.

An entry says which features hold image, mask and name, and what the mask values mean.
The builders belong to TFDS; here they are opened from disk, without TensorFlow.
"""

import dataclasses
import importlib.util
from pathlib import Path

import cv2
import numpy as np

from resseg.data.spec import VOID, DatasetSpec
from resseg.errors import UserError, choose

# Label id -> class; all other ids are void (Cordts et al. 2016, Table 1).
_CITYSCAPES = {
    7: "road",
    8: "sidewalk",
    11: "building",
    12: "wall",
    13: "fence",
    17: "pole",
    19: "traffic light",
    20: "traffic sign",
    21: "vegetation",
    22: "terrain",
    23: "sky",
    24: "person",
    25: "rider",
    26: "car",
    27: "truck",
    28: "bus",
    31: "train",
    32: "motorcycle",
    33: "bicycle",
}
_CITYSCAPES_IDS = 34  # ids 0 .. 33; the licence plate, -1, is 255 in the files

_ADE_OBJECTS = """
bed|windowpane|cabinet|person|door|table|curtain|chair|car|painting|sofa|shelf|mirror
armchair|seat|fence|desk|wardrobe|lamp|bathtub|railing|cushion|box|column|signboard
chest of drawers|counter|sink|fireplace|refrigerator|stairs|case|pool table|pillow
screen door|bookcase|coffee table|toilet|flower|book|bench|countertop|stove|palm
kitchen island|computer|swivel chair|boat|arcade machine|bus|towel|light|truck
chandelier|awning|streetlight|booth|television receiver|airplane|apparel|pole
bannister|ottoman|bottle|van|ship|fountain|washer|plaything|stool|barrel|basket|bag
minibike|oven|ball|food|step|trade name|microwave|pot|animal|bicycle|dishwasher|screen
sculpture|hood|sconce|vase|traffic light|tray|ashcan|fan|plate|monitor|bulletin board
radiator|glass|clock|flag
"""


@dataclasses.dataclass(frozen=True)
class Entry:
    """A catalogue data set and how its records are read.

    Attributes:
        name: as in `config.data.name`.
        builder: name in TFDS, with the builder config after a slash.
        classes: class names; the position is the class index.
        values: mask value (red, of a mask in colour) to class index; a value that is
            not named here is an error.
        splits: split here to split in TFDS.
        image, mask: names of the features.
        record_name: feature that names a record; None = its position does.
        needs: what has to be done by hand before TFDS can prepare it; "" = nothing.
    """

    name: str
    builder: str
    classes: tuple[str, ...]
    values: dict[int, int]
    splits: dict[str, str]
    image: str
    mask: str
    record_name: str | None = None
    needs: str = ""


def _from_one(classes: int) -> dict[int, int]:
    return {value: value - 1 for value in range(1, classes + 1)}


ENTRIES = (
    Entry(
        name="oxford_iiit_pet",
        builder="oxford_iiit_pet",
        classes=("pet", "background", "border"),
        values=_from_one(3),
        splits={"train": "train", "val": "test"},
        image="image",
        mask="segmentation_mask",
        record_name="file_name",
    ),
    Entry(
        name="cityscapes",
        builder="cityscapes/semantic_segmentation",
        classes=tuple(_CITYSCAPES.values()),
        values=dict.fromkeys((*range(_CITYSCAPES_IDS), VOID), VOID)
        | {label: index for index, label in enumerate(_CITYSCAPES)},
        # The masks of the official test split are not public.
        splits={"train": "train", "val": "validation"},
        image="image_left",
        mask="segmentation_label",
        record_name="image_id",
        needs="leftImg8bit_trainvaltest.zip and gtFine_trainvaltest.zip from "
        "cityscapes-dataset.com",
    ),
    Entry(
        # TFDS fetches the instance masks: red is one of 100 object categories, green
        # the instance. Walls, sky and other stuff are 0 there, so they are void.
        name="scene_parse150",
        builder="scene_parse150",
        classes=tuple(_ADE_OBJECTS.strip().replace("\n", "|").split("|")),
        values={0: VOID} | _from_one(100),
        splits={"train": "train", "val": "test"},
        image="image",
        mask="annotation",
    ),
)


def find(name: str) -> Entry | None:
    """The entry of that name, with or without its builder config; None = no entry."""
    return next((item for item in ENTRIES if name in (item.name, item.builder)), None)


def spec(entry: Entry, data_dir: str | Path) -> DatasetSpec:
    """Classes and image counts of a prepared catalogue data set.

    Raises:
        UserError: it is not prepared in `data_dir`.
    """
    import tensorflow_datasets as tfds

    splits = tfds.builder_from_directory(str(_directory(entry, data_dir))).info.splits
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
        folder = _directory(entry, data_dir)
        skip = tfds.decode.SkipDecoding()
        self._records = tfds.builder_from_directory(str(folder)).as_data_source(
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
        entry, record = self._entry, self._records[index]
        name = f"{self.split}-{index:06d}"
        if entry.record_name is not None:
            name = Path(record[entry.record_name].decode()).stem
        image = _decode(record[entry.image])
        stored = _decode(record[entry.mask])
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


def _decode(encoded: bytes) -> np.ndarray | None:
    """uint8 RGB `[height, width, 3]`; a grey file has three equal channels."""
    flags = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
    return cv2.imdecode(np.frombuffer(encoded, np.uint8), flags)


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
        raise UserError(how_to_prepare(entry, data_dir))
    import tensorflow_datasets as tfds

    builder = tfds.builder(entry.builder, data_dir=data_dir, file_format="array_record")
    try:
        builder.download_and_prepare()
    except AssertionError as error:  # so TFDS says that manual files are missing
        raise UserError(f"{entry.name}: {error}") from None
    return spec(entry, data_dir)


def how_to_prepare(entry: Entry, data_dir: str | Path) -> str:
    """One line: the command that prepares an entry, and where it runs."""
    first = ""
    if entry.needs:
        first = f"put {entry.needs} into {data_dir}/downloads/manual; "
    return (
        f"config.data.name={entry.name!r}: not prepared in {data_dir}; {first}"
        "with TensorFlow installed, in this or another environment, run: "
        'python -c "import tensorflow_datasets as tfds; '
        f"tfds.builder('{entry.builder}', data_dir='{data_dir}', "
        "file_format='array_record').download_and_prepare()\""
    )


def is_prepared(entry: Entry, data_dir: str | Path) -> bool:
    """True where a version of it lies in `data_dir`."""
    return bool(_versions(entry, data_dir))


def _directory(entry: Entry, data_dir: str | Path) -> Path:
    """The newest prepared version."""
    found = _versions(entry, data_dir)
    if not found:
        raise UserError(how_to_prepare(entry, data_dir))
    return max(found, key=lambda path: [int(part) for part in path.name.split(".")])


def _versions(entry: Entry, data_dir: str | Path) -> list[Path]:
    descriptions = (Path(data_dir) / entry.builder).glob("*/dataset_info.json")
    return [path.parent for path in descriptions]
