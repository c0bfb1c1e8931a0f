"""Cityscapes: `*_gtFine_polygons.json`, one for each image.

The form and the rasteriser are those of github.com/mcordts/cityscapesScripts
(`json2labelImg`): polygons in the order of the file, with `PIL.ImageDraw`; deleted ones
and those of a negative id are not drawn; `cargroup` is `car`. What is no class of the
19 that are trained on is void.
"""

import functools
from pathlib import Path
from typing import Any

from resseg.data import catalogue_entries
from resseg.data.findings import Finding
from resseg.data.labels.evidence import Evidence
from resseg.data.labels.fields import field, read_json
from resseg.data.labels.formats import Format, Reading, Request
from resseg.data.labels.painting import Object, Objects
from resseg.data.labels.places import files_below
from resseg.data.labels.regions import PillowPolygon
from resseg.data.pairs import WHOLE
from resseg.errors import UserError

_ENDINGS = ("_gtFine_polygons.json", "_gtCoarse_polygons.json")
_SPLITS = ("train", "val")
_NOT_DRAWN = "license plate"  # the one label whose id is negative
_GROUP_OF_ITS_OWN = "polegroup"  # no group of poles, which are a class


def _fits(seen: Evidence) -> bool:
    return {"imgHeight", "objects", "polygon"} <= seen.keys


def read(request: Request) -> Reading:
    """Reads a folder such as `gtFine`; folders `train` and `val` in it are splits.

    Raises:
        UserError: a file is no such file.
    """
    path = request.labels
    if not path.is_dir():
        files = [path]
    elif not (files := files_below(path, _named())):
        raise UserError(f"--labels {path}: holds no file {' or '.join(_ENDINGS)}")
    entry = catalogue_entries.find("cityscapes")
    assert entry is not None
    images = request.images()
    reading = Reading([], list(entry.classes), classes=entry.classes)
    whole = all(_split(file, path) in (*_SPLITS, "test") for file in files)
    left_out = 0
    for file in files:
        split = _split(file, path) if whole and request.split == WHOLE else ""
        if split == "test":
            left_out += 1
            continue
        content = read_json(file)
        size = tuple(
            field(content, key, int, str(file)) for key in ("imgHeight", "imgWidth")
        )
        listed = field(content, "objects", list, str(file))
        objects = [_object(each, number, file) for number, each in enumerate(listed)]
        kept = tuple(each for each in objects if each is not None)
        own = Objects(str(file), kept, (size[0], size[1]))
        stem = _stem(file) + "_leftImg8bit"
        find = functools.partial(images.find_stem, stem, str(file))
        reading.add(images, find, str(file), own, split or request.split)
    if left_out:
        message = "left out: the labels of the split test are not public"
        reading.findings.append(Finding("extra", str(path), message))
    return reading


def _named() -> tuple[str, ...]:
    return tuple(ending.lower() for ending in _ENDINGS)


def _split(file: Path, root: Path) -> str:
    """The name of the folder below the root that holds a file."""
    parts = file.relative_to(root).parts if file != root else ()
    return parts[0] if len(parts) > 1 else ""


def _stem(file: Path) -> str:
    name = file.name
    for ending in _ENDINGS:
        name = name.removesuffix(ending)
    return name.removesuffix(".json")


def _object(entry: Any, number: int, file: Path) -> Object | None:
    here = f"{file}: object {number}"
    label = field(entry, "label", str, here)
    if entry.get("deleted") or label == _NOT_DRAWN:
        return None
    if label != _GROUP_OF_ITS_OWN and label.endswith("group"):
        label = label.removesuffix("group")
    points = field(entry, "polygon", list, here)
    return Object(label, PillowPolygon(points), f"object {number} ({label})")


FORMAT = Format(
    name="cityscapes",
    what="Cityscapes polygons (JSON), splits by folder",
    rasteriser="PIL.ImageDraw, as cityscapesScripts draws",
    fits=_fits,
    read=read,
    rest="void",
    unlisted="void",
)
