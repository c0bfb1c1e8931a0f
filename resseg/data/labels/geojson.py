"""GeoJSON over images with a georeference (GeoTIFF).

The form is RFC 7946: longitude and latitude, unless an older `crs` member names another
system; what is not in the system of an image is projected into it. A pixel is covered
where its centre is (`rasterio.features`, all_touched False).
"""

import dataclasses
import functools
import math
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from resseg.data.labels.evidence import Evidence
from resseg.data.labels.fields import field, of_kind, read_json
from resseg.data.labels.formats import Format, Reading, Request
from resseg.data.labels.painting import Object, Objects
from resseg.data.labels.places import files_below
from resseg.errors import UserError, some

_SUFFIXES = (".geojson", ".json")
_ATTRIBUTES = ("class", "label", "category", "class_name")
_LONGITUDES = "OGC:CRS84"


def _fits(seen: Evidence) -> bool:
    return {"features", "geometry"} <= seen.keys


def read(request: Request) -> Reading:
    """Reads one file for all images, or a folder with a file of the name of each.

    Raises:
        UserError: a file is no such file, a feature is broken, or an image has no
            georeference.
    """
    path = request.labels
    images = request.images()
    reading = Reading([], [])
    categories: set[str] = set()
    if path.is_dir():
        files = files_below(path, _SUFFIXES)
        found = [(file, images.find_stem(file.stem, str(file))) for file in files]
    else:
        found = [(path, image) for image in images.files]
    known: dict[Path, _Layer] = {}
    for file, image in found:
        if file not in known:
            known[file] = _Layer(file, request.options.attribute)
            categories |= {feature.category for feature in known[file].features}
        objects, size = known[file].over(image)
        where = f"{file} over {image}" if len(known) == 1 else str(file)
        content = Objects(str(file), tuple(objects), size)
        find = functools.partial(Path, image)
        reading.add(images, find, where, content, request.split)
    for layer in known.values():
        _require_some(layer, images.root)
    reading.categories = sorted(categories)
    return reading


def _require_some(layer: "_Layer", root: Path) -> None:
    """Raises UserError where a file has features, and none lies over an image."""
    if layer.features and not layer.met:
        raise UserError(
            f"{layer.file}: none of {len(layer.features)} features lies over an image "
            f"in {root}: are their coordinates in {layer.system}?"
        )


@dataclasses.dataclass(frozen=True)
class _Feature:
    category: str
    geometry: dict
    where: str


class _Layer:
    """A file of features, in the systems of the images that were asked for."""

    def __init__(self, file: Path, attribute: str | None):
        from rasterio.crs import CRS
        from rasterio.errors import CRSError

        content = read_json(file)
        self.file = file
        self.features = list(_features(content, attribute, str(file)))
        try:
            self.system = _system_of(content, str(file))
            self._system = CRS.from_user_input(self.system)
        except CRSError as error:
            raise UserError(f"{file}: crs: not known ({error})") from None
        self._projected: dict[str, list[dict]] = {}
        self.met = False

    def over(self, image: Path) -> tuple[list[Object], tuple[int, int]]:
        """The objects that an image may show, and its size."""
        import rasterio
        from rasterio.errors import NotGeoreferencedWarning, RasterioError

        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", NotGeoreferencedWarning)
                with rasterio.open(image) as raster:
                    system, transform = raster.crs, raster.transform
                    size, bounds = (raster.height, raster.width), raster.bounds
        except RasterioError as error:
            raise UserError(f"{image}: cannot be read ({error})") from None
        if system is None or transform.is_identity:
            raise UserError(f"{image}: has no georeference; expected a GeoTIFF")
        shapes = self._in(system)
        objects = [
            Object(feature.category, GeoShape(shape, transform), feature.where)
            for feature, shape in zip(self.features, shapes, strict=True)
            if _meets(shape, bounds)
        ]
        self.met = self.met or bool(objects)
        return objects, size

    def _in(self, system: Any) -> list[dict]:
        from rasterio.warp import transform_geom

        shapes = [feature.geometry for feature in self.features]
        if system == self._system or not shapes:
            return shapes
        key = system.to_wkt()
        if key not in self._projected:
            try:
                moved = transform_geom(self._system, system, shapes)
            except Exception as error:  # GDAL has errors that rasterio hides
                raise UserError(
                    f"{self.file}: cannot be projected ({error}); are its coordinates "
                    "longitude and latitude?"
                ) from None
            for feature, shape in zip(self.features, moved, strict=True):
                if not all(map(math.isfinite, _flat(shape["coordinates"]))):
                    raise UserError(
                        f"{self.file}: {feature.where}: cannot be projected; are its "
                        "coordinates longitude and latitude?"
                    )
            self._projected[key] = moved
        return self._projected[key]


@dataclasses.dataclass(frozen=True)
class GeoShape:
    """A polygon or several, in the coordinates of an image, as GDAL fills it."""

    geometry: dict
    transform: Any

    def mask(self, height: int, width: int) -> np.ndarray:
        from rasterio.features import rasterize

        covered = rasterize(
            [(self.geometry, 1)],
            out_shape=(height, width),
            transform=self.transform,
            all_touched=False,
            dtype="uint8",
        )
        assert covered is not None  # it is, where no array to fill is given
        return covered.astype(bool)


def _features(content: Any, attribute: str | None, where: str) -> Iterator[_Feature]:
    listed = field(content, "features", list, where)
    for number, entry in enumerate(listed):
        field(entry, "properties", object, f"{where}: feature {number}")
        of_kind(entry["properties"] or {}, dict, f"{where}: feature {number}")
    name = attribute or _attribute(listed, where)
    for number, entry in enumerate(listed):
        own = f"feature {number}"
        here = f"{where}: {own}"
        properties = entry["properties"] or {}
        if properties.get(name) is None:
            raise UserError(f"{here}: has no {name!r} (--attribute)")
        geometry = field(entry, "geometry", dict, here)
        kind = field(geometry, "type", str, f"{here}: geometry")
        if kind not in ("Polygon", "MultiPolygon"):
            raise UserError(f"{here}: a {kind}; expected Polygon or MultiPolygon")
        polygons = field(geometry, "coordinates", list, here)
        for polygon in polygons if kind == "MultiPolygon" else [polygons]:
            if not of_kind(polygon, list, here):
                raise UserError(f"{here}: a polygon without a ring")
            for ring in polygon:
                _require_ring(ring, here)
        category = str(properties[name])
        yield _Feature(category, geometry, f"{own} ({category})")


def _attribute(listed: list, where: str) -> str:
    """The attribute that holds the category, where it is unmistakable."""
    if not listed:
        return _ATTRIBUTES[0]
    shared = set.intersection(*(set(entry["properties"] or {}) for entry in listed))
    fitting = [name for name in _ATTRIBUTES if name in shared]
    if len(fitting) == 1:
        return fitting[0]
    raise UserError(
        f"{where}: which attribute is the category? say --attribute NAME, one of "
        f"{some(sorted(shared)) or 'none that all features have'}"
    )


def _require_ring(ring: Any, here: str) -> None:
    if not isinstance(ring, list) or len(ring) < 4:
        count = len(ring) if isinstance(ring, list) else 0
        raise UserError(f"{here}: a ring of {count} positions; expected 4 or more")
    for position in ring:
        numbers = position if isinstance(position, list) else []
        fits = len(numbers) >= 2 and all(
            isinstance(each, int | float) and math.isfinite(each) for each in numbers
        )
        if not fits:
            raise UserError(f"{here}: a position that is no pair of numbers")


def _system_of(content: dict, where: str) -> str:
    """What coordinates are, as the `crs` member of before RFC 7946 says, if any."""
    named = content.get("crs")
    if named is None:
        return _LONGITUDES
    return field(field(named, "properties", dict, f"{where}: crs"), "name", str, where)


def _flat(coordinates: Any) -> Iterator[float]:
    if isinstance(coordinates, list | tuple):
        for inner in coordinates:
            yield from _flat(inner)
    else:
        yield coordinates


def _meets(shape: dict, bounds: Any) -> bool:
    """Whether the boxes around a shape and an image overlap."""
    polygons = shape["coordinates"]
    if shape["type"] == "Polygon":
        polygons = [polygons]
    outer = np.array([point[:2] for part in polygons for point in part[0]])
    if not outer.size:
        return False
    (left, bottom), (right, top) = outer.min(axis=0), outer.max(axis=0)
    low, high = sorted((bounds.bottom, bounds.top))
    return bool(
        left < bounds.right and right > bounds.left and bottom < high and top > low
    )


FORMAT = Format(
    name="geojson",
    what="GeoJSON over GeoTIFF: polygons with holes; projected into the image",
    rasteriser="rasterio.features.rasterize, all_touched False",
    fits=_fits,
    read=read,
    needs="rasterio",
)
