"""Which image belongs to which mask, and to which split."""

import csv
import dataclasses
import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from resseg.data.findings import Finding
from resseg.data.reading import IMAGE_SUFFIXES
from resseg.errors import UserError, nearest

WHOLE = "all"  # the split of pairs that are still to be split
_SPLIT_NAME = re.compile(r"[a-z][a-z0-9_]*")


@dataclasses.dataclass(frozen=True)
class Pair:
    """An image and its mask; they share the stem of their file names."""

    split: str
    name: str
    image: Path
    mask: Path


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
    _require_folder("--folder", folder)
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
        splits[part.name] = _match(part.name, part / "images", part / "masks", findings)
    if not splits:
        raise UserError(f"{folder}: holds no <split>/images with <split>/masks")
    return Listing(splits, findings)


def scan_pairs(images: Path, masks: Path) -> Listing:
    """Matches two flat folders by stem; everything lands in the one split `WHOLE`.

    Raises:
        UserError: a folder is missing.
    """
    _require_folder("--images", images)
    _require_folder("--masks", masks)
    findings: list[Finding] = []
    return Listing({WHOLE: _match(WHOLE, images, masks, findings)}, findings)


def split_by_fraction(listing: Listing, fraction: float, seed: int) -> Listing:
    """Moves a random share of the pairs into `val`, the others into `train`.

    The draw depends on the names and the seed alone.

    Raises:
        UserError: the fraction lies outside [0, 1), or leaves a split empty.
    """
    if not 0 <= fraction < 1:
        raise UserError(f"--val-fraction {fraction}: expected 0 <= fraction < 1")
    pairs = listing.pairs
    count = round(len(pairs) * fraction)
    if fraction > 0 and pairs and count in (0, len(pairs)):
        raise UserError(
            f"--val-fraction {fraction}: of {len(pairs)} pairs, {count} would be val; "
            "expected at least one pair in train and in val"
        )
    chosen = set(np.random.default_rng(seed).permutation(len(pairs))[:count].tolist())
    splits: dict[str, list[Pair]] = {"train": [], "val": []}
    for index, pair in enumerate(pairs):
        split = "val" if index in chosen else "train"
        splits[split].append(dataclasses.replace(pair, split=split))
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
    known = {pair.name: pair for pair in listing.pairs}
    splits: dict[str, list[Pair]] = {}
    placed: set[str] = set()
    for line, split, written in _rows(path):
        name = written if written in known else Path(written).stem
        if name not in known:
            raise UserError(
                f"{path} line {line}: no pair named {written!r}{nearest(name, known)}"
            )
        if name in placed:
            raise UserError(f"{path} line {line}: {name!r} is named twice")
        if not _SPLIT_NAME.fullmatch(split):
            raise UserError(
                f"{path} line {line}: split={split!r}: expected small letters, "
                "digits and _, such as train or val"
            )
        placed.add(name)
        splits.setdefault(split, []).append(
            dataclasses.replace(known[name], split=split)
        )
    findings = listing.findings + [
        Finding("extra", str(pair.image), f"not in {path}: left out")
        for name, pair in known.items()
        if name not in placed
    ]
    ordered = {
        split: sorted(splits[split], key=lambda pair: pair.name)
        for split in sorted(splits)
    }
    return Listing(ordered, findings)


def _rows(path: Path) -> Iterable[tuple[int, str, str]]:
    if not path.is_file():
        raise UserError(f"--split-file {path}: no such file")
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = csv.DictReader(file)
        columns = rows.fieldnames or []
        for column in ("split", "name"):
            if column not in columns:
                raise UserError(
                    f"--split-file {path}: no column {column!r} in the first line "
                    f"(it has {', '.join(columns) or 'none'})"
                )
        for row in rows:
            yield (
                rows.line_num,
                (row["split"] or "").strip(),
                (row["name"] or "").strip(),
            )


def _match(
    split: str, images: Path, masks: Path, findings: list[Finding]
) -> list[Pair]:
    left = _by_stem(images, "an image", findings)
    right = _by_stem(masks, "a mask", findings)
    for folder, files, what in ((images, left, "image"), (masks, right, "mask")):
        if not files:
            message = f"holds no {what} ({', '.join(IMAGE_SUFFIXES)})"
            findings.append(Finding("layout", str(folder), message))
            return []
    shared = [stem for stem in left if stem in right]
    if left and right and not shared:
        here, there = next(iter(left.values())).name, next(iter(right.values())).name
        message = f"no image has the name of a mask: {here} here, {there} in {masks}"
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


def _by_stem(folder: Path, what: str, findings: list[Finding]) -> dict[str, Path]:
    """Files by stem. What a mask is stored as is judged by its content, later."""
    files: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.is_dir() or path.name.startswith("."):
            continue
        if path.suffix.lower() not in IMAGE_SUFFIXES:
            findings.append(
                Finding("extra", str(path), f"not {what} ({', '.join(IMAGE_SUFFIXES)})")
            )
        elif path.stem in files:
            findings.append(
                Finding("pair", str(path), f"same name as {files[path.stem].name}")
            )
        else:
            files[path.stem] = path
    return files


def _require_folder(option: str, folder: Path) -> None:
    if not folder.is_dir():
        raise UserError(f"{option} {folder}: no such folder")
