"""The table of catalogue data sets: which features, which mask values, which names."""

import dataclasses

from resseg.data.spec import VOID

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
        as_folder: the way without TFDS, where the archives hold plain pairs.
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
    as_folder: str = ""


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
        as_folder="unpack images.tar.gz and annotations.tar.gz and run: resseg data "
        "prepare pets --folder . --layout pets",
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
