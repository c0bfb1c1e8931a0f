"""The folder trees that well-known data sets come in, with their classes and values."""

import dataclasses
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from resseg import text
from resseg.data.catalogue_entries import find
from resseg.data.class_names import read_colors
from resseg.data.findings import Finding
from resseg.data.mask_rule import MaskRule
from resseg.data.pairs import Listing, Pair, match, require_folder, scan_folder
from resseg.errors import UserError, choose


class Layout(NamedTuple):
    """A kind of folder tree.

    Attributes:
        tree: what it looks like.
        scan: finds its pairs.
        classes: their names; empty where the user says them.
        rule: what the values of its masks mean.
    """

    tree: str
    scan: Callable[[Path], Listing]
    classes: tuple[str, ...]
    rule: MaskRule


def layout(name: str) -> Layout:
    """The layout of that name.

    Raises:
        UserError: it is none of `NAMES`.
    """
    choose("--layout", name, NAMES)
    return _LAYOUTS[name]()


def _plain() -> Layout:
    return Layout("SPLIT/images, SPLIT/masks", scan_folder, (), MaskRule())


def _camvid() -> Layout:
    """The 11 classes of Badrinarayanan et al. 2017 (SegNet); 11 is void."""
    classes = "sky building pole road pavement tree sign fence car pedestrian bicyclist"
    return Layout(
        "train, trainannot, val, valannot, test, testannot",
        _scan_camvid,
        tuple(classes.split()),
        MaskRule(void=11),
    )


def _voc() -> Layout:
    tree = "JPEGImages, SegmentationClass, ImageSets/Segmentation/SPLIT.txt"
    return Layout(tree, _scan_voc, read_colors("voc").classes, MaskRule())


def _cityscapes() -> Layout:
    entry = find("cityscapes")
    assert entry is not None
    return Layout(
        "leftImg8bit/SPLIT/CITY, gtFine/SPLIT/CITY with *_labelIds.png",
        _scan_cityscapes,
        entry.classes,
        MaskRule(values=tuple(entry.values.items())),
    )


def _ade() -> Layout:
    """0 is what belongs to none of the 150 classes."""
    return Layout(
        "images/training, annotations/training, and validation in both",
        _scan_ade,
        read_colors("ade").classes,
        MaskRule(first=1),
    )


_LAYOUTS = {
    "folders": _plain,
    "camvid": _camvid,
    "voc": _voc,
    "cityscapes": _cityscapes,
    "ade": _ade,
}
NAMES = tuple(_LAYOUTS)


def _scan_camvid(folder: Path) -> Listing:
    sources = {
        split: [(folder / split, folder / f"{split}annot")]
        for split in ("train", "val", "test")
        if (folder / f"{split}annot").is_dir()
    }
    return _collect("camvid", folder, sources)


def _scan_ade(folder: Path) -> Listing:
    sources = {
        split: [(folder / "images" / part, folder / "annotations" / part)]
        for split, part in (("train", "training"), ("val", "validation"))
        if (folder / "annotations" / part).is_dir()
    }
    return _collect("ade", folder, sources)


def _scan_cityscapes(folder: Path) -> Listing:
    """Of the split `test` the public masks are void throughout: it is left out."""
    sources = {
        split: [
            (
                folder / "leftImg8bit" / split / city.name / "*_leftImg8bit.png",
                city / "*_gtFine_labelIds.png",
            )
            for city in _folders(folder / "gtFine" / split)
        ]
        for split in ("train", "val")
    }
    listing = _collect("cityscapes", folder, sources)
    left_out = folder / "gtFine" / "test"
    if left_out.is_dir():
        message = "left out: the masks of the split test are not public"
        listing.findings.append(Finding("extra", str(left_out), message))
    return listing


def _scan_voc(folder: Path) -> Listing:
    """`trainval` is the union of two other splits: it is left out."""
    lists = folder / "ImageSets" / "Segmentation"
    found = _collect(
        "voc", folder, {"all": [(folder / "JPEGImages", folder / "SegmentationClass")]}
    )
    known = {pair.name: pair for pair in found.pairs}
    splits: dict[str, list[Pair]] = {}
    # Most images of the tree have boxes alone; a list says which have masks.
    findings = [item for item in found.findings if item.kind != "pair"]
    for file in sorted(lists.glob("*.txt")) if lists.is_dir() else []:
        if file.stem == "trainval":
            continue
        names = text.read(file).split()
        splits[file.stem] = [
            dataclasses.replace(known[name], split=file.stem)
            for name in names
            if name in known
        ]
        findings += _not_there(file, [name for name in names if name not in known])
    if not splits:
        raise UserError(
            f"--folder {folder}: no list of a split in {lists}, such as train.txt"
        )
    return Listing(splits, findings)


def _not_there(file: Path, names: list[str]) -> Iterator[Finding]:
    for name in names:
        yield Finding("pair", str(file), f"{name!r}: no image and mask of that name")


def _collect(
    name: str, folder: Path, sources: dict[str, list[tuple[Path, Path]]]
) -> Listing:
    """The pairs of every split, each from one or more pairs of places.

    Raises:
        UserError: the tree is another one.
    """
    require_folder(folder)
    findings: list[Finding] = []
    splits: dict[str, list[Pair]] = {}
    for split, places in sources.items():
        for place in itertools.chain(*places):
            parent = place.parent if "*" in place.name else place
            if not parent.is_dir():
                raise UserError(_another_tree(name, folder, parent))
        if places:
            splits[split] = [
                pair
                for images, masks in places
                for pair in match(split, images, masks, findings)
            ]
    if not splits:
        raise UserError(_another_tree(name, folder, None))
    return Listing(splits, findings)


def _another_tree(name: str, folder: Path, missing: Path | None) -> str:
    inside = [inner for inner in _folders(folder) if _looks_like(name, inner)]
    what = f"there is no {missing}" if missing else "nothing of it is there"
    hint = f"; did you mean --folder {inside[0]}?" if inside else ""
    tree = layout(name).tree
    return f"--folder {folder}: not the tree of --layout {name} ({tree}): {what}{hint}"


def _looks_like(name: str, folder: Path) -> bool:
    first = layout(name).tree.partition(",")[0].partition("/")[0]
    return (folder / first).is_dir()


def _folders(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.is_dir())
