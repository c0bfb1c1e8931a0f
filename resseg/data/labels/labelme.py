"""LabelMe: one JSON file for each image.

The form and the rasteriser are those of github.com/wkentaro/labelme: shapes are drawn
with `PIL.ImageDraw` in the order of the file. `imageData` is not read: the image is the
file that `imagePath` names.
"""

import base64
import dataclasses
import functools
import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from resseg.data.headers import read_header
from resseg.data.labels.evidence import Evidence
from resseg.data.labels.fields import field, of_kind, read_json
from resseg.data.labels.formats import Format, Reading, Request
from resseg.data.labels.geometry import points_of
from resseg.data.labels.painting import Object, Objects
from resseg.data.labels.places import Images, files_below
from resseg.data.labels.regions import (
    PillowBox,
    PillowPolygon,
    Region,
)
from resseg.errors import UserError

_IGNORED, _BACKGROUND = "__ignore__", "_background_"  # of labelme's own exporters
_POINTS = {"rectangle": 2, "circle": 2, "oriented_rectangle": 4, "mask": 2}
_THIN = ("point", "line", "linestrip", "points")


def _fits(seen: Evidence) -> bool:
    return {"shapes", "imagePath"} <= seen.keys


def read(request: Request) -> Reading:
    """Reads a file, or all of a folder and those below it.

    Raises:
        UserError: a file is no such file, or a shape is broken.
    """
    path = request.labels
    files = files_below(path, (".json",)) if path.is_dir() else [path]
    if not files:
        raise UserError(f"--labels {path}: holds no .json file")
    images = request.images()
    reading = Reading([], [])
    categories: set[str] = set()
    for file in files:
        content = read_json(file)
        objects = [
            _object(shape, f"shape {number}", str(file))
            for number, shape in enumerate(field(content, "shapes", list, str(file)))
        ]
        categories |= {each.category for each in objects if each.category is not None}
        own = Objects(str(file), tuple(objects), _size(content, file))
        find = functools.partial(_image, content, file, images)
        reading.add(images, find, str(file), own, request.split)
    reading.categories = sorted(categories)
    return reading


def _image(content: Any, file: Path, images: Images) -> Path:
    written = field(content, "imagePath", str, str(file))
    if images.holds(written):
        return images.find(written, str(file))
    try:  # renamed together with the file
        return images.find_stem(file.stem, str(file))
    except UserError:
        return images.find(written, str(file))


def _size(content: Any, file: Path) -> tuple[int, int] | None:
    """Height and width, which older versions did not write."""
    if content.get("imageHeight") is None:
        return None
    sides = [
        field(content, key, int, str(file)) for key in ("imageHeight", "imageWidth")
    ]
    return sides[0], sides[1]


def _object(shape: Any, where: str, file: str) -> Object:
    here = f"{file}: {where}"
    label = field(shape, "label", str, here)
    kind = of_kind(shape.get("shape_type") or "polygon", str, f"{here}: shape_type")
    points = field(shape, "points", list, here)
    try:
        region = _region(kind, points, shape.get("mask"))
    except ValueError as error:
        raise UserError(f"{here} ({label}): {error}") from None
    category = {_IGNORED: None, _BACKGROUND: "background"}.get(label, label)
    return Object(category, region, f"{where} ({label})")


def _region(kind: str, points: Sequence, mask: Any) -> Region:
    if kind == "polygon":
        return PillowPolygon(points)
    if kind in _THIN:
        raise ValueError(f"a {kind} covers no pixels; expected a shape with an area")
    if kind not in _POINTS:
        raise ValueError(f"shape_type={kind!r}: expected polygon, {', '.join(_POINTS)}")
    corners = points_of(points, fewest=2)
    if len(corners) != _POINTS[kind]:
        raise ValueError(f"{len(corners)} points; a {kind} has {_POINTS[kind]}")
    if kind == "oriented_rectangle":
        return PillowPolygon(points)
    (x, y), (right, bottom) = corners.tolist()
    if kind == "rectangle":
        left, right = sorted((x, right))
        top, bottom = sorted((y, bottom))
        return PillowBox(left, top, right, bottom)
    if kind == "circle":
        radius = math.hypot(x - right, y - bottom)
        box = (x - radius, y - radius, x + radius, y + radius)
        return PillowBox(*box, round=True)
    if not isinstance(mask, str):
        raise ValueError("a mask without its PNG")
    whole = bool((corners == np.trunc(corners)).all())
    box = (round(bottom) - round(y) + 1, round(right) - round(x) + 1)
    return PngPatch(mask, round(y), round(x), box if whole else None)


@dataclasses.dataclass(frozen=True)
class PngPatch:
    """A PNG in base64; what lies outside the image is cut off.

    Attributes:
        content: the text.
        top, left: where it begins.
        box: rows and columns that it should have; None = any.
    """

    content: str
    top: int
    left: int
    box: tuple[int, int] | None

    def mask(self, height: int, width: int) -> np.ndarray:
        try:
            content = base64.b64decode(self.content, validate=True)
        except ValueError:
            raise ValueError("a mask that is not in base64") from None
        header = read_header("mask", content)
        if header.format != "PNG" or self.box not in (None, header.size):
            raise ValueError(
                f"a {header.format} of {header.size}; expected a PNG of {self.box}"
            )
        try:
            picture = Image.open(io.BytesIO(content), formats=["PNG"])
            pixels = np.array(picture.convert("L")) > 0
        except (OSError, SyntaxError, ValueError):
            raise ValueError("a mask whose PNG is damaged") from None
        result = np.zeros((height, width), bool)
        inside = pixels[max(-self.top, 0) :, max(-self.left, 0) :]
        target = result[max(self.top, 0) :, max(self.left, 0) :]
        rows, columns = np.minimum(inside.shape, target.shape)
        target[:rows, :columns] = inside[:rows, :columns]
        return result


FORMAT = Format(
    name="labelme",
    what="LabelMe JSON: polygon, rectangle, circle, mask; point and line are refused",
    rasteriser="PIL.ImageDraw, as labelme draws",
    fits=_fits,
    read=read,
)
