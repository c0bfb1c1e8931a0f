"""CVAT for images 1.1: one XML file for all images.

The form is that of docs.cvat.ai ("CVAT for images 1.1"). Objects of a higher `z_order`
lie on top, of equal ones the later. Masks are run lengths along the rows of a box.
"""

import dataclasses
import functools
from xml.etree.ElementTree import Element

import numpy as np

from resseg.data.labels.evidence import Evidence
from resseg.data.labels.fields import number, read_xml, whole
from resseg.data.labels.formats import Format, Reading, Request
from resseg.data.labels.geometry import ellipse, require_inside, turned
from resseg.data.labels.painting import Object, Objects
from resseg.data.labels.places import files_below
from resseg.data.labels.regions import CocoPolygons, Patch, Region, filled
from resseg.errors import UserError

_NO_AREA = ("polyline", "points", "cuboid", "skeleton")


def _fits(seen: Evidence) -> bool:
    return seen.root == "annotations"


def read(request: Request) -> Reading:
    """Reads a file, or those of a folder and below it.

    Raises:
        UserError: a file is no such file, or an object is broken.
    """
    path = request.labels
    files = files_below(path, (".xml",)) if path.is_dir() else [path]
    if not files:
        raise UserError(f"--labels {path}: holds no .xml file")
    images = request.images()
    reading = Reading([], [])
    for file in files:
        root = read_xml(file)
        if root.tag != "annotations":
            raise UserError(f"{file}: <{root.tag}>: expected <annotations> of CVAT")
        if root.find("track") is not None:
            raise UserError(
                f"{file}: tracks of a video; export it as 'CVAT for images 1.1'"
            )
        named = [label.findtext("name") or "" for label in root.iter("label")]
        for entry in root.iterfind("image"):
            where = f"{file}: image {entry.get('id')}"
            size = tuple(
                whole(entry.get(key), f"{where}: {key}") for key in ("height", "width")
            )
            objects = [_object(each, index, where) for index, each in enumerate(entry)]
            kept = tuple(each for each in objects if each is not None)
            named += [each.category or "" for each in kept]
            own = Objects(where, kept, (size[0], size[1]))
            find = functools.partial(images.find, entry.get("name") or "", where)
            reading.add(images, find, where, own, request.split)
        reading.categories += [
            name
            for name in dict.fromkeys(named)
            if name and name not in reading.categories
        ]
    return reading


def _object(entry: Element, index: int, where: str) -> Object | None:
    """An object; None for a tag of the whole image."""
    if entry.tag == "tag":
        return None
    label = entry.get("label")
    name = f"{entry.tag} {index} ({label})"
    here = f"{where}: {name}"
    if not label:
        raise UserError(f"{here}: has no label")
    layer = number(entry.get("z_order", "0"), f"{here}: z_order")
    try:
        return Object(label, _region(entry, here), name, layer)
    except ValueError as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{here}: {error}") from None


def _region(entry: Element, here: str) -> Region:
    def said(*keys: str) -> list[float]:
        return [number(entry.get(key), f"{here}: {key}") for key in keys]

    turn = number(entry.get("rotation", "0"), f"{here}: rotation")
    if entry.tag == "polygon":
        corners = [pair.split(",") for pair in (entry.get("points") or "").split(";")]
        where = f"{here}: points"
        return CocoPolygons([[[number(w, where) for w in pair] for pair in corners]])
    if entry.tag == "box":
        left, top, right, bottom = said("xtl", "ytl", "xbr", "ybr")
        corners = [(left, top), (right, top), (right, bottom), (left, bottom)]
        center = ((left + right) / 2, (top + bottom) / 2)
        return CocoPolygons([turned(corners, center, turn) if turn else corners])
    if entry.tag == "ellipse":
        x, y, across, down = said("cx", "cy", "rx", "ry")
        outline = ellipse((x, y), (across, down))
        return CocoPolygons([turned(outline, (x, y), turn) if turn else outline])
    if entry.tag == "mask":
        return _mask(entry, here)
    known = "polygon, box, ellipse or mask"
    if entry.tag in _NO_AREA:
        raise ValueError(f"a {entry.tag} covers no pixels; expected {known}")
    raise ValueError(f"<{entry.tag}>: expected {known}")


def _mask(entry: Element, here: str) -> "RowRuns":
    left, top, width, height = (
        whole(entry.get(key), f"{here}: {key}")
        for key in ("left", "top", "width", "height")
    )
    return RowRuns(entry.get("rle") or "", top, left, height, width)


@dataclasses.dataclass(frozen=True)
class RowRuns:
    """Run lengths along the rows of a box, beginning with what is not covered.

    Attributes:
        counts: the lengths, with commas between them.
        top, left, rows, columns: the box.
    """

    counts: str
    top: int
    left: int
    rows: int
    columns: int

    def mask(self, height: int, width: int) -> np.ndarray:
        require_inside(
            (self.top, self.left), (self.rows, self.columns), (height, width)
        )
        try:
            counts = [int(word) for word in self.counts.split(",")]
        except ValueError:
            raise ValueError("run lengths that are no whole numbers") from None
        pixels = filled(counts, self.rows * self.columns)
        box = pixels.reshape(self.rows, self.columns)
        return Patch(box, self.top, self.left).mask(height, width)


FORMAT = Format(
    name="cvat",
    what="CVAT for images 1.1 (XML): polygon, box, ellipse, mask; z_order",
    rasteriser="pycocotools, as datumaro draws",
    fits=_fits,
    read=read,
    needs="pycocotools",
)
