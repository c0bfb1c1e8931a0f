"""Which image belongs to which mask, and to which split."""

import csv
import dataclasses
import io
import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from resseg import text
from resseg.data.files import files_by_name, require_place
from resseg.data.findings import Finding
from resseg.data.parts import ImagePart, MaskPart
from resseg.data.reading import IMAGE_SUFFIXES
from resseg.errors import UserError, nearest

WHOLE = "all"  # the split of pairs that are still to be split
_SPLIT_NAME = re.compile(r"[a-z][a-z0-9_]*")


@dataclasses.dataclass(frozen=True)
class Pair:
    """An image and its mask.

    Attributes:
        split: that it is in.
        name: of the pair.
        image, mask: files, or what has to be made.
        group: whose pairs stay in one split, as slices of a volume, windows of a scene;
            "" = none.
    """

    split: str
    name: str
    image: Path | ImagePart
    mask: Path | MaskPart
    group: str = ""


@dataclasses.dataclass
class Listing:
    """What a scan found: pairs in the order of their names, and what is left over."""

    splits: dict[str, list[Pair]]
    findings: list[Finding]

    @property
    def pairs(self) -> list[Pair]:
        return [pair for pairs in self.splits.values() for pair in pairs]


def scan_folder(folder: Path) -> Listing:
    """Reads the layout `<folder>/<split>/images` with `<folder>/<split>/masks`.

    Raises:
        UserError: there is no such folder, or no split in it.
    """
    require_folder(folder)
    splits: dict[str, list[Pair]] = {}
    findings: list[Finding] = []
    for part in sorted(path for path in folder.iterdir() if path.is_dir()):
        present = [kind for kind in ("images", "masks") if (part / kind).is_dir()]
        if not present:
            continue
        if len(present) == 1:
            other = "masks" if present == ["images"] else "images"
            raise UserError(f"{part}: has {present[0]}/ but no {other}/")
        if not _SPLIT_NAME.fullmatch(part.name):
            raise UserError(
                f"{part}: expected a split name of small letters, digits and _, "
                "beginning with a letter"
            )
        splits[part.name] = match(part.name, part / "images", part / "masks", findings)
    if not splits:
        raise UserError(f"{folder}: holds no <split>/images with <split>/masks")
    return Listing(splits, findings)


def scan_pairs(images: Path, masks: Path) -> Listing:
    """Matches two places by name; everything lands in the one split `WHOLE`.

    Args:
        images, masks: a folder, whose files are named by their stems; or a pattern such
            as `DIR/*_mask.png`, whose files are named by what `*` stands for.

    Raises:
        UserError: a folder is missing, or one holds images and masks alike.
    """
    require_place("--images", images)
    require_place("--masks", masks)
    if images.is_dir() and masks.is_dir() and images.samefile(masks):
        raise UserError(
            f"--images and --masks {masks}: one folder; say which files are which, as "
            f"in --images '{images}/*.jpg' --masks '{masks}/*.png'"
        )
    findings: list[Finding] = []
    return Listing({WHOLE: match(WHOLE, images, masks, findings)}, findings)


def require_folder(folder: Path) -> None:
    """Raises UserError unless `--folder` is one."""
    if not folder.is_dir():
        raise UserError(f"--folder {folder}: no such folder")


def split_by_fraction(listing: Listing, fraction: float, seed: int) -> Listing:
    """Moves a random share of the pairs into `val`, the others into `train`.

    The draw depends on the names and the seed alone. Pairs of a group stay together.

    Raises:
        UserError: the fraction lies outside [0, 1), or leaves a split empty; or the
            seed is negative.
    """
    if not 0 <= fraction < 1:
        raise UserError(f"--val-fraction {fraction}: expected 0 <= fraction < 1")
    if seed < 0:
        raise UserError(f"--seed {seed}: expected 0 or more")
    units: dict[str | int, list[Pair]] = {}
    for index, pair in enumerate(listing.pairs):
        units.setdefault(pair.group or index, []).append(pair)
    what = (
        "volumes or scenes" if any(isinstance(unit, str) for unit in units) else "pairs"
    )
    count = round(len(units) * fraction)
    if fraction > 0 and units and count in (0, len(units)):
        raise UserError(
            f"--val-fraction {fraction}: of {len(units)} {what}, {count} would be val; "
            "expected at least one of them in train and in val"
        )
    chosen = set(np.random.default_rng(seed).permutation(len(units))[:count].tolist())
    splits: dict[str, list[Pair]] = {"train": [], "val": []}
    for index, unit in enumerate(units.values()):
        split = "val" if index in chosen else "train"
        splits[split] += [dataclasses.replace(pair, split=split) for pair in unit]
    if fraction == 0:
        del splits["val"]
    return Listing(splits, listing.findings)


def split_by_file(listing: Listing, path: Path) -> Listing:
    """Places the pairs as a CSV file with the columns `split` and `name` says.

    A name may carry its suffix. Pairs that the file does not name are left out, with
    a warning.

    Raises:
        UserError: the file or a column is missing, a name is unknown or comes twice.
    """
    known: dict[str, list[Pair]] = {}
    for pair in listing.pairs:
        known.setdefault(pair.group or pair.name, []).append(pair)
    splits: dict[str, list[Pair]] = {}
    placed: set[str] = set()
    for line, split, written in _rows(path):
        name = written if written in known else Path(written).stem
        if name not in known:
            raise UserError(
                f"--split-file {path} line {line}: no pair named {written!r}"
                f"{nearest(name, known)}"
            )
        if name in placed:
            raise UserError(f"--split-file {path} line {line}: {name!r} is named twice")
        if not _SPLIT_NAME.fullmatch(split):
            raise UserError(
                f"--split-file {path} line {line}: split={split!r}: expected small "
                "letters, digits and _, such as train or val"
            )
        placed.add(name)
        splits.setdefault(split, []).extend(
            dataclasses.replace(pair, split=split) for pair in known[name]
        )
    if not placed:
        raise UserError(
            f"--split-file {path}: names no pair, it has no line but its head"
        )
    findings = listing.findings + [
        Finding("extra", str(pair.image), f"not in {path}: left out")
        for name, pairs in known.items()
        if name not in placed
        for pair in pairs
    ]
    ordered = {
        split: sorted(splits[split], key=lambda pair: pair.name)
        for split in sorted(splits)
    }
    return Listing(ordered, findings)


def _rows(path: Path) -> Iterable[tuple[int, str, str]]:
    if not path.is_file():
        raise UserError(f"--split-file {path}: no such file")
    content = text.read(path)
    head = content.partition("\n")[0]
    separator = max(",;\t", key=head.count)  # spreadsheets have their own
    rows = csv.reader(io.StringIO(content), delimiter=separator)
    columns = [name.strip().lower() for name in next(rows, [])]
    for column in ("split", "name"):
        if column not in columns:
            raise UserError(
                f"--split-file {path}: no column {column!r} in the first line "
                f"(it has {', '.join(columns) or 'none'})"
            )
    for row in rows:
        if any(cell.strip() for cell in row):
            cells = dict(zip(columns, map(str.strip, row), strict=False))
            yield rows.line_num, cells.get("split", ""), cells.get("name", "")


def match(split: str, images: Path, masks: Path, findings: list[Finding]) -> list[Pair]:
    """The pairs of two places that exist, in the order of their names.

    Args:
        split: that they get.
        images, masks: as in `scan_pairs`.
        findings: grows by what is left over, and by what was passed over.
    """
    left = files_by_name(images, IMAGE_SUFFIXES, "an image", findings)
    right = files_by_name(masks, IMAGE_SUFFIXES, "a mask", findings)
    for place, files, what in ((images, left, "image"), (masks, right, "mask")):
        if not files:
            message = f"holds no {what} ({', '.join(IMAGE_SUFFIXES)})"
            findings.append(Finding("layout", str(place), message))
            return []
    shared = [stem for stem in left if stem in right]
    if left and right and not shared:
        here, there = next(iter(left.values())).name, next(iter(right.values())).name
        message = (
            f"no image has the name of a mask: {here} here, {there} in {masks}; names "
            "with an ending of their own are given as a pattern, DIR/*_mask.png"
        )
        findings.append(Finding("pair", str(images), message))
        return []
    for stem, path in left.items():
        if stem not in right:
            message = f"no mask {stem}.png in {masks}{nearest(stem, right)}"
            findings.append(Finding("pair", str(path), message))
    for stem, path in right.items():
        if stem not in left:
            message = f"no image of that name in {images}: not used"
            findings.append(Finding("extra", str(path), message))
    return [Pair(split, stem, left[stem], right[stem]) for stem in shared]
