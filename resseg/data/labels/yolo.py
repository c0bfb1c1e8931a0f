"""YOLO segmentation: a text file for each image, a polygon in each line.

The form is that of docs.ultralytics.com/datasets/segment: the number of a category and
x, y, x, y ... as shares of width and height; `data.yaml` names categories and splits.
Polygons are filled as ultralytics fills them (`cv2.fillPoly`).
"""

import functools
from collections import defaultdict
from pathlib import Path
from typing import Any

from resseg import text
from resseg.data.findings import Finding
from resseg.data.labels.evidence import Evidence
from resseg.data.labels.formats import Format, Reading, Request
from resseg.data.labels.painting import Object, Objects
from resseg.data.labels.places import files_below
from resseg.data.labels.regions import CvPolygon
from resseg.errors import UserError

_SPLITS = ("train", "val", "test")
_FILES = ("data.yaml", "dataset.yaml", "classes.txt")


def _fits(seen: Evidence) -> bool:
    if seen.path.is_file():
        return seen.path.suffix in (".yaml", ".yml") and b"names" in seen.start
    return any(seen.has(name) for name in _FILES) and ".txt" in seen.suffixes


def read(request: Request) -> Reading:
    """Reads `data.yaml`, or a folder of text files that holds it or `classes.txt`.

    Images that have no text file have no object.

    Raises:
        UserError: a file is missing, or a line is broken.
    """
    path = request.labels
    file = path if path.is_file() else _names_file(path)
    root = file.parent
    if file.suffix == ".txt":
        names, splits = text.read(file).split("\n"), {}
        names = [name.strip() for name in names if name.strip()]
    else:
        names, splits, root = _described(file)
    texts = _Texts(root)
    images = request.images(root)
    reading = Reading([], list(dict.fromkeys(names)))
    for split, folder in (splits or {request.split: images.root}).items():
        inside = [each for each in images.files if folder in each.parents]
        if not inside:
            raise UserError(f"{file}: {split}: no image below {folder}")
        for image in inside:
            own = texts.of(image)
            where = str(own or image)
            objects = _objects(own, names) if own else ()
            content = Objects(where, objects)
            reading.add(images, functools.partial(Path, image), where, content, split)
    left = texts.left()
    if left:
        more = "" if len(left) == 1 else f" (and {len(left) - 1} more)"
        message = f"a text file of no image in {images.root}{more}"
        reading.findings.append(Finding("pair", str(left[0]), message))
    return reading


def _names_file(folder: Path) -> Path:
    for name in _FILES:
        if (folder / name).is_file():
            return folder / name
    raise UserError(f"--labels {folder}: holds none of {', '.join(_FILES)}")


def _described(file: Path) -> tuple[list[str], dict[str, Path], Path]:
    """Categories, folders of images by split, and the root of `data.yaml`."""
    import yaml

    try:
        content = yaml.safe_load(text.read(file))
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        if isinstance(error, UserError):
            raise
        reason = " ".join(str(error).split())[:120]
        raise UserError(f"{file}: cannot be read as YAML ({reason})") from None
    if not isinstance(content, dict):
        raise UserError(f"{file}: expected names: and a list of them")
    names = content.get("names")
    if isinstance(names, dict) and sorted(names, key=str) == sorted(
        range(len(names)), key=str
    ):
        names = [names[index] for index in range(len(names))]
    if not isinstance(names, list) or not all(isinstance(n, str | int) for n in names):
        raise UserError(f"{file}: names: expected a list, or numbers from 0 with names")
    root = _root(file, content.get("path"))
    splits = {
        split: _folder(root, content[split], f"{file}: {split}")
        for split in _SPLITS
        if content.get(split)
    }
    return [str(name) for name in names], splits, root


def _root(file: Path, written: Any) -> Path:
    """`path`, where it lies below the file; else the folder of the file."""
    if not isinstance(written, str):
        return file.parent
    return _below(file.parent, written) or file.parent


def _folder(root: Path, written: Any, where: str) -> Path:
    if not isinstance(written, str):
        raise UserError(f"{where}: expected a folder of images")
    found = _below(root, written)
    if found is None:
        raise UserError(f"{where}: {written!r}: no such folder below {root}")
    return found


def _below(root: Path, written: str) -> Path | None:
    """A folder below the root; steps upwards are left out, as exporters write them."""
    parts = [part for part in Path(written).parts if part not in ("..", ".", "/")]
    found = root.joinpath(*parts)
    inside = found.resolve().is_relative_to(root.resolve())
    return found if inside and found.is_dir() else None


class _Texts:
    """The text files below a folder, and which of them images have asked for."""

    def __init__(self, root: Path):
        self._known = set(files_below(root, (".txt",))) - {root / "classes.txt"}
        self._stems: dict[str, list[Path]] = defaultdict(list)
        for path in sorted(self._known):
            self._stems[path.stem].append(path)
        self._folders = {path.parent for path in self._known}
        self._used: set[Path] = set()

    def of(self, image: Path) -> Path | None:
        """The text of an image: with `labels` in the place of `images`, or beside it;
        where neither folder holds any, the one of its name. None: it has no object.

        Raises:
            UserError: several may be meant, or one by several images.
        """
        beside = image.with_suffix(".txt")
        parts = list(beside.parts)
        if "images" in parts:
            last = len(parts) - 1 - parts[::-1].index("images")
            parts[last] = "labels"
        places = (Path(*parts), beside)
        found = next((path for path in places if path in self._known), None)
        if found is None and not any(path.parent in self._folders for path in places):
            named = self._stems.get(image.stem, [])
            if len(named) > 1 or self._used.intersection(named):
                raise UserError(f"{image}: may be that of {named[0]}, as others")
            found = named[0] if named else None
        if found is not None:
            self._used.add(found)
        return found

    def left(self) -> list[Path]:
        """Texts of no image; others, such as a list of images, lie elsewhere."""
        folders = {path.parent for path in self._used}
        return sorted(
            path
            for path in self._known - self._used
            if not folders or path.parent in folders or "labels" in path.parts
        )


def _objects(file: Path, names: list[str]) -> tuple[Object, ...]:
    objects = []
    for number, line in enumerate(text.read(file).split("\n"), start=1):
        if not line.strip():
            continue
        here = f"{file}: line {number}"
        first, *rest = line.split()
        if not first.isdecimal() or int(first) >= len(names):
            raise UserError(
                f"{here}: category {first!r}; expected 0 to {len(names) - 1}"
            )
        try:
            shares = [float(word) for word in rest]
        except ValueError:
            raise UserError(f"{here}: expected numbers after the category") from None
        if len(shares) == 4:
            raise UserError(f"{here}: a box; expected a polygon of 3 points or more")
        points = list(zip(shares[::2], shares[1::2], strict=False))
        if len(shares) % 2 or len(points) < 3:
            raise UserError(f"{here}: {len(shares)} numbers; expected x, y pairs, 3 up")
        name = names[int(first)]
        objects.append(Object(name, CvPolygon(points), f"line {number} ({name})"))
    return tuple(objects)


FORMAT = Format(
    name="yolo",
    what="YOLO segmentation text: polygons as shares of the size; data.yaml",
    rasteriser="cv2.fillPoly, as ultralytics draws",
    fits=_fits,
    read=read,
)
