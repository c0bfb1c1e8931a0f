"""COCO JSON: `images`, `annotations` and `categories` in one file.

The form is that of cocodataset.org/#format-data. Polygons of an annotation are a union;
holes are said by run lengths. A crowd (`iscrowd`) is void, below everything else.
"""

import functools
from collections import defaultdict
from typing import Any

from resseg.data.labels.evidence import Evidence
from resseg.data.labels.fields import field, of_kind, read_json
from resseg.data.labels.formats import Format, Reading, Request
from resseg.data.labels.painting import LOWEST, Object, Objects
from resseg.data.labels.regions import CocoPolygons, CocoRuns, Region
from resseg.errors import UserError


def _fits(seen: Evidence) -> bool:
    return {"file_name", "images"} <= seen.keys or {
        "image_id",
        "category_id",
    } <= seen.keys


def read(request: Request) -> Reading:
    """Reads one file; its images lie anywhere below the folder of images.

    Raises:
        UserError: it is no COCO file, or an entry is broken.
    """
    path = request.labels
    content = read_json(path)
    images = request.images()
    names = _categories(content, str(path))
    objects = _objects(content, names, str(path))
    reading = Reading([], [names[key] for key in sorted(names)])
    known: set[Any] = set()
    for number, entry in enumerate(field(content, "images", list, str(path))):
        where = f"{path}: images[{number}]"
        key = field(entry, "id", object, where)
        file_name = field(entry, "file_name", str, where)
        if not isinstance(key, int | str) or key in known:
            raise UserError(f"{where}: id={key!r}: expected an id of its own")
        known.add(key)
        where = f"{path}: image {key}"
        size = (field(entry, "height", int, where), field(entry, "width", int, where))
        own = Objects(str(path), tuple(objects.pop(key, ())), size)
        find = functools.partial(images.find, file_name, where)
        reading.add(images, find, where, own, request.split)
    for key in [key for key in objects if key not in known]:
        message = f"{objects[key][0].where}: image_id={key!r}: no image of that id"
        raise UserError(f"{path}: {message}")
    return reading


def _categories(content: Any, where: str) -> dict[int, str]:
    names: dict[int, str] = {}
    for number, entry in enumerate(field(content, "categories", list, where)):
        here = f"{where}: categories[{number}]"
        key, name = field(entry, "id", int, here), field(entry, "name", str, here)
        if key in names or name in names.values():
            raise UserError(f"{here}: id {key}, name {name!r}: comes twice")
        names[key] = name
    return names


def _objects(
    content: Any, names: dict[int, str], where: str
) -> dict[Any, list[Object]]:
    """The objects by the id of their image."""
    objects: dict[Any, list[Object]] = defaultdict(list)
    for number, entry in enumerate(field(content, "annotations", list, where)):
        own = entry.get("id") if isinstance(entry, dict) else None
        name = f"annotation {own}" if isinstance(own, int | str) else ""
        name = name or f"annotations[{number}]"
        here = f"{where}: {name}"
        image = field(entry, "image_id", object, here)
        if "segments_info" in entry:
            raise UserError(f"{here}: is of COCO panoptic; expected its instances file")
        category = field(entry, "category_id", int, here)
        if category not in names:
            raise UserError(f"{here}: category_id={category}: no such category")
        if not isinstance(image, int | str):
            raise UserError(f"{here}: image_id={image!r}: expected an id")
        crowd = entry.get("iscrowd", 0) in (1, True)
        region = region_of(field(entry, "segmentation", object, here), here)
        objects[image].append(
            Object(
                None if crowd else names[category],
                region,
                name,
                LOWEST if crowd else 0,
            )
        )
    return objects


def region_of(value: Any, where: str) -> Region:
    """What a `segmentation` covers.

    Raises:
        UserError: it is neither a list of polygons nor run lengths.
    """
    if isinstance(value, list):
        if not value:
            raise UserError(f"{where}: segmentation is empty, as that of a box alone")
        return CocoPolygons([of_kind(part, list, where) for part in value])
    here = f"{where}: segmentation"
    size = field(value, "size", list, here)
    if len(size) != 2 or not all(isinstance(side, int) for side in size):
        raise UserError(f"{here}: size={size!r}: expected height and width")
    counts = field(value, "counts", object, here)
    if not isinstance(counts, list | str):
        raise UserError(f"{here}: counts: expected a list or a text")
    return CocoRuns(counts, (size[0], size[1]))


FORMAT = Format(
    name="coco",
    what="COCO JSON: polygons, RLE in both forms; a crowd is void, below the others",
    rasteriser="pycocotools",
    fits=_fits,
    read=read,
    needs="pycocotools",
)
