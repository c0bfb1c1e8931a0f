"""Label Studio's JSON: a list of tasks, each with its annotations.

The form is that of labelstud.io/guide/export. Coordinates are percent of the image, a
rotation turns about the corner where a rectangle begins. Brushes are run lengths of
four channels; where the last one, alpha, is not 0 a pixel is covered.
"""

import dataclasses
import functools
import re
from pathlib import Path
from typing import Any

import numpy as np

from resseg.data.findings import Finding
from resseg.data.labels.evidence import Evidence
from resseg.data.labels.fields import field, of_kind, read_json
from resseg.data.labels.formats import Format, Reading, Request
from resseg.data.labels.geometry import ellipse, turned
from resseg.data.labels.painting import Object, Objects
from resseg.data.labels.places import Images, files_below
from resseg.data.labels.regions import CocoPolygons, Region
from resseg.errors import UserError

_KINDS = ("brush", "polygon", "rectangle", "ellipse")
_UPLOADED = re.compile(r"^[0-9a-f]{8}-")  # what an upload puts before a name
_NO_AREA = ("keypoint", "keypointlabels", "vector", "vectorlabels")


def _fits(seen: Evidence) -> bool:
    return {"from_name", "to_name"} <= seen.keys


def read(request: Request) -> Reading:
    """Reads a file, or those of a folder and below it.

    Raises:
        UserError: a file is no such file, or a result is broken.
    """
    path = request.labels
    files = files_below(path, (".json",)) if path.is_dir() else [path]
    images = request.images()
    reading = Reading([], [])
    categories: set[str] = set()
    for file in files:
        tasks = read_json(file)
        for number, task in enumerate(tasks if isinstance(tasks, list) else [tasks]):
            own = task.get("id") if isinstance(task, dict) else None
            where = f"{file}: task {number if own is None else own}"
            objects, size = _objects(_results(task, where, reading), where)
            categories |= {each.category for each in objects if each.category}
            data = field(task, "data", dict, where)
            find = functools.partial(_image, data, images, where)
            content = Objects(where, tuple(objects), size)
            reading.add(images, find, where, content, request.split)
    reading.categories = sorted(categories)
    return reading


def _image(data: dict, images: Images, where: str) -> Path:
    """The image of a task: the first of its data that is the name of one."""
    texts = [value for value in data.values() if isinstance(value, str)]
    for text in texts:
        written = text.rpartition("?d=")[2].partition("?")[0]
        if images.holds(written):
            return images.find(written, where)
        folder, slash, name = written.rpartition("/")
        plain = folder + slash + _UPLOADED.sub("", name)
        if images.holds(plain):
            return images.find(plain, where)
    if not texts:
        raise UserError(f"{where}: data names no image")
    return images.find(texts[0], where)


def _results(task: Any, where: str, reading: Reading) -> list:
    """The results of a task: of its ground truth, else of its last annotation."""
    known = [
        entry
        for entry in field(task, "annotations", list, where)
        if not of_kind(entry, dict, f"{where}: annotation").get("was_cancelled")
    ]
    known = [entry for entry in known if entry.get("ground_truth")] or known
    if not known:
        return []
    if len(known) > 1:
        message = f"{len(known)} annotations: the last one is taken"
        file, _, name = where.partition(": ")
        reading.findings.append(Finding("extra", file, f"{name}: {message}"))
    return field(known[-1], "result", list, where)


def _objects(results: list, where: str) -> tuple[list[Object], tuple[int, int] | None]:
    named = _labels_by_id(results)
    objects: list[Object] = []
    sizes: set[tuple[int, int]] = set()
    for number, result in enumerate(results):
        here = f"{where}: result {number}"
        kind = field(result, "type", str, here)
        if kind in _NO_AREA:
            raise UserError(f"{here}: a {kind} covers no pixels")
        if kind.removesuffix("labels") not in _KINDS:
            continue  # choices, texts and relations of the image
        value = field(result, "value", dict, here)
        labels = value.get(kind) or named.get(result.get("id"))
        if not labels:
            raise UserError(f"{here}: a {kind} without a label")
        label = of_kind(labels[0], str, f"{here}: label")
        size = (
            field(result, "original_height", int, here),
            field(result, "original_width", int, here),
        )
        sizes.add(size)
        try:
            region = _region(kind.removesuffix("labels"), value, size, here)
        except ValueError as error:
            if isinstance(error, UserError):
                raise
            raise UserError(f"{here} ({label}): {error}") from None
        objects.append(Object(label, region, f"result {number} ({label})"))
    if len(sizes) > 1:
        raise UserError(f"{where}: results for images of several sizes")
    return objects, next(iter(sizes), None)


def _labels_by_id(results: list) -> dict[Any, list]:
    """Labels that were given to a region by a result of their own."""
    return {
        result.get("id"): result["value"]["labels"]
        for result in results
        if isinstance(result, dict)
        and result.get("type") == "labels"
        and isinstance(result.get("value"), dict)
        and isinstance(result["value"].get("labels"), list)
    }


def _region(kind: str, value: dict, size: tuple[int, int], here: str) -> Region:
    if kind == "brush":
        return Brush(field(value, "rle", list, here), size)
    height, width = size

    def scaled(x: float, y: float) -> tuple[float, float]:
        return x / 100 * width, y / 100 * height

    if kind == "polygon":
        points = field(value, "points", list, here)
        if not all(isinstance(point, list) and len(point) == 2 for point in points):
            raise ValueError("points that are no pairs of x and y")
        corners = [
            scaled(of_kind(x, float, here), of_kind(y, float, here)) for x, y in points
        ]
        return CocoPolygons([corners])
    turn = of_kind(value.get("rotation") or 0, float, f"{here}: rotation")
    x, y = (field(value, key, float, here) for key in ("x", "y"))
    start = scaled(x, y)
    if kind == "rectangle":
        sides = (field(value, key, float, here) for key in ("width", "height"))
        right, bottom = (s + e for s, e in zip(start, scaled(*sides), strict=True))
        box = [start, (right, start[1]), (right, bottom), (start[0], bottom)]
        return CocoPolygons([turned(box, start, turn) if turn else box])
    radii = (field(value, key, float, here) for key in ("radiusX", "radiusY"))
    outline = ellipse(start, scaled(*radii))
    return CocoPolygons([turned(outline, start, turn) if turn else outline])


@dataclasses.dataclass(frozen=True)
class Brush:
    """Packed run lengths of four channels (thi.ng/rle-pack), as brushes are stored.

    Attributes:
        content: its bytes, as numbers.
        size: height and width that they are for.
    """

    content: list[int]
    size: tuple[int, int]

    def mask(self, height: int, width: int) -> np.ndarray:
        if self.size != (height, width):
            raise ValueError(f"a brush for {self.size}, in {height}x{width}")
        alpha = _unpacked(self.content, height * width * 4)[3::4]
        return alpha.reshape(height, width) > 0


def _unpacked(content: list[int], length: int) -> np.ndarray:
    """uint8 `[length]`. Each run begins with a bit that says whether one value is
    repeated or each is written, and the length in one of four numbers of bits."""
    try:
        bits = _Bits(np.unpackbits(np.frombuffer(bytes(content), np.uint8)))
    except (ValueError, OverflowError, TypeError):
        raise ValueError("a brush with bytes beyond 0 to 255") from None
    count = bits.number(32)
    if count != length:
        raise ValueError(f"a brush of {count} values; expected {length}")
    word = bits.number(5) + 1
    sizes = [bits.number(4) + 1 for _ in range(4)]
    if word != 8:
        raise ValueError(f"a brush of {word} bits a value; expected 8")
    result = np.zeros(length, np.uint8)
    place = 0
    while place < length:
        same = bits.number(1)
        end = place + 1 + bits.number(sizes[bits.number(2)])
        if end > length:
            raise ValueError(f"a brush that runs beyond its {length} values")
        result[place:end] = bits.number(word) if same else bits.bytes(end - place)
        place = end
    return result


class _Bits:
    def __init__(self, bits: np.ndarray):
        self._bits = bits
        self._place = 0

    def number(self, count: int) -> int:
        return int("".join(map(str, self._next(count).tolist())), 2)

    def bytes(self, count: int) -> np.ndarray:
        return np.packbits(self._next(8 * count))

    def _next(self, count: int) -> np.ndarray:
        bits = self._bits[self._place : self._place + count]
        if len(bits) < count:
            raise ValueError("a brush that is cut short")
        self._place += count
        return bits


FORMAT = Format(
    name="labelstudio",
    what="Label Studio JSON: brush, polygon, rectangle, ellipse",
    rasteriser="label_studio_sdk's brush decoder; outlines: pycocotools",
    fits=_fits,
    read=read,
    needs="pycocotools",
)
