"""ImageJ and Fiji: regions of interest, `.roi` files or a `.zip` of them per image.

Polygons and freehand outlines cover pixels whose centre is inside, as ImageJ's
`PolygonFiller` decides; ovals as `OvalRoi.getMask`; of composites further outlines are
holes. The name of a region is its category, without the number behind it; regions that
the ROI manager has named are `roi`. `--attribute group` takes the number of the group.
"""

import functools
import re
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

from resseg.data.labels.evidence import Evidence
from resseg.data.labels.fields import damage
from resseg.data.labels.formats import Format, Reading, Request
from resseg.data.labels.painting import Object, Objects
from resseg.data.labels.places import Images, files_below
from resseg.data.labels.regions import CentreOval, CentrePolygons, Region
from resseg.data.spec import LONGEST_SIDE
from resseg.errors import UserError, choose

if TYPE_CHECKING:
    from roifile import ImagejRoi

_SUFFIXES = (".zip", ".roi")
_ATTRIBUTES = ("name", "group")
_LARGEST = 64 << 20  # bytes of one region, unpacked
_LARGEST_OF_ALL = 512 << 20
_MANAGER = re.compile(r"\d{4}-\d{4}(-\d{4})?(-\d+)?")  # slice, row, column
_NUMBER = re.compile(r"[-_ ]\d+$")
_SPLINE = 1  # an option: the outline is a curve through its points


def _fits(seen: Evidence) -> bool:
    if seen.path.is_file():
        return seen.suffixes <= {".roi"} or seen.start.startswith(b"PK")
    return bool(seen.suffixes & {".roi"}) or ".zip" in seen.suffixes


def read(request: Request) -> Reading:
    """Reads a folder of files with the names of the images, or the file of one image.

    Raises:
        UserError: a file is no such file, or a region covers no pixels.
    """
    attribute = request.options.attribute or "name"
    choose("--attribute", attribute, _ATTRIBUTES)
    path = request.labels
    files = files_below(path, _SUFFIXES) if path.is_dir() else [path]
    images = request.images()
    reading = Reading([], [])
    categories: set[str] = set()
    for file in files:
        objects = [
            _object(content, name, attribute, file) for name, content in _regions(file)
        ]
        categories |= {each.category for each in objects if each.category is not None}
        find = functools.partial(_image, file, images)
        content = Objects(str(file), tuple(objects))
        reading.add(images, find, str(file), content, request.split)
    reading.categories = sorted(categories)
    return reading


def _image(file: Path, images: Images) -> Path:
    stem = file.stem
    for ending in ("_RoiSet", "-RoiSet", "_rois", ".roi"):
        stem = stem.removesuffix(ending)
    if stem == "RoiSet" and len(images.files) == 1:
        return images.files[0]
    return images.find_stem(stem, str(file))


def _regions(file: Path) -> list[tuple[str, bytes]]:
    """Names and contents of the regions of a file."""
    if file.suffix.lower() == ".roi":
        return [(file.stem, file.read_bytes())]
    with damage(str(file), "zip"), zipfile.ZipFile(file) as archive:
        inside = [each for each in archive.infolist() if not each.is_dir()]
        if not inside or not all(
            each.filename.lower().endswith(".roi") for each in inside
        ):
            raise UserError(f"{file}: holds other files than .roi: unpack it")
        sizes = [each.file_size for each in inside]
        if max(sizes) > _LARGEST or sum(sizes) > _LARGEST_OF_ALL:
            raise UserError(f"{file}: unpacks to {sum(sizes)} bytes: refused")
        return [(Path(each.filename).stem, archive.read(each)) for each in inside]


def _object(content: bytes, name: str, attribute: str, file: Path) -> Object:
    from roifile import ImagejRoi

    with damage(f"{file}: region {name!r}", "ImageJ region"):
        roi = ImagejRoi.frombytes(content)
        region = _region(roi)
    category = str(roi.group)
    if attribute == "name":
        written = roi.name or name
        category = _NUMBER.sub("", written)
        category = "roi" if _MANAGER.fullmatch(written) else category or "roi"
    return Object(category, region, f"region {name!r}")


def _region(roi: "ImagejRoi") -> Region:
    from roifile import ROI_TYPE

    if roi.composite:
        return CentrePolygons(list(roi.coordinates(multi=True)))
    box = (roi.left, roi.top, roi.right - roi.left, roi.bottom - roi.top)
    if roi.roitype == ROI_TYPE.OVAL:
        return CentreOval(*box)
    if roi.roitype == ROI_TYPE.RECT:
        if roi.rounded_rect_arc_size:
            raise ValueError("a rectangle with round corners")
        left, top, width, height = box
        if not (0 < width <= LONGEST_SIDE and 0 < height <= LONGEST_SIDE):
            raise ValueError(f"a rectangle of {height}x{width} (height x width)")
        corners = [(0, 0), (width, 0), (width, height), (0, height)]
        return CentrePolygons([[(left + x, top + y) for x, y in corners]])
    if roi.roitype in (ROI_TYPE.POLYGON, ROI_TYPE.FREEHAND, ROI_TYPE.TRACED):
        if int(roi.options) & _SPLINE:
            raise ValueError("a fitted spline; expected its points (Interpolate)")
        return CentrePolygons([roi.coordinates()])
    raise ValueError(f"a {roi.roitype.name.lower()} covers no pixels")


FORMAT = Format(
    name="imagej",
    what="ImageJ and Fiji: a .zip of regions, or a .roi, for each image",
    rasteriser="ImageJ's PolygonFiller and OvalRoi, read by roifile",
    fits=_fits,
    read=read,
    needs="roifile",
)
