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
from resseg.data.mask_rule import MaskRule, in_order
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


def _pets() -> Layout:
    """Trimaps of Oxford-IIIT Pet (Parkhi et al. 2012): pet, background and border."""
    return Layout(_PETS, _scan_pets, ("pet", "background", "border"), MaskRule(first=1))


def _pets_binary() -> Layout:
    """The border counts as pet, as segmentation_models.pytorch has it."""
    rule = MaskRule(values=((1, 1), (2, 0), (3, 1)))
    return Layout(_PETS, _scan_pets_binary, ("background", "pet"), rule)


def _coco_stuff() -> Layout:
    """The 171 classes of COCO-Stuff 164k (Caesar et al. 2018, `stuffthingmaps`).

    A mask holds the id of its category less one; of 182 ids 11 are never used.
    """
    lines = text.read(Path(__file__).parent / "class_lists" / "coco_stuff.txt")
    stored = [line.split(" ", 1) for line in lines.splitlines()]
    return Layout(
        "images/train2017, annotations/train2017, and val2017 in both",
        _scan_coco_stuff,
        tuple(name for _, name in stored),
        MaskRule(values=in_order([int(value) for value, _ in stored])),
    )


_PETS = "images, annotations/trimaps, annotations/trainval.txt and test.txt"
_LAYOUTS = {
    "folders": _plain,
    "camvid": _camvid,
    "voc": _voc,
    "cityscapes": _cityscapes,
    "ade": _ade,
    "pets": _pets,
    "pets_binary": _pets_binary,
    "coco_stuff": _coco_stuff,
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
    return _scan_parts("ade", folder, {"train": "training", "val": "validation"})


def _scan_coco_stuff(folder: Path) -> Listing:
    return _scan_parts("coco_stuff", folder, {"train": "train2017", "val": "val2017"})


def _scan_parts(name: str, folder: Path, parts: dict[str, str]) -> Listing:
    sources = {
        split: [(folder / "images" / part, folder / "annotations" / part)]
        for split, part in parts.items()
        if (folder / "annotations" / part).is_dir()
    }
    return _collect(name, folder, sources)


def _scan_pets(folder: Path) -> Listing:
    return _scan_lists_of_pets("pets", folder)


def _scan_pets_binary(folder: Path) -> Listing:
    return _scan_lists_of_pets("pets_binary", folder)


def _scan_lists_of_pets(name: str, folder: Path) -> Listing:
    """The official lists: `trainval.txt` is trained on, `test.txt` evaluated on."""
    masks = folder / "annotations" / "trimaps"
    found = _collect(name, folder, {"all": [(folder / "images", masks)]})
    files = {
        split: folder / "annotations" / file
        for split, file in (("train", "trainval.txt"), ("val", "test.txt"))
    }
    for file in files.values():
        if not file.is_file():
            raise UserError(_another_tree(name, folder, file))
    named = {
        split: [line.split()[0] for line in text.read(file).split("\n") if line.strip()]
        for split, file in files.items()
    }
    return _in_lists(found, named, files)


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
    files = {
        file.stem: file
        for file in (sorted(lists.glob("*.txt")) if lists.is_dir() else [])
        if file.stem != "trainval"
    }
    if not files:
        raise UserError(
            f"--folder {folder}: no list of a split in {lists}, such as train.txt"
        )
    named = {split: text.read(file).split() for split, file in files.items()}
    return _in_lists(found, named, files)


def _in_lists(
    found: Listing, named: dict[str, list[str]], files: dict[str, Path]
) -> Listing:
    """The pairs in the splits that lists name.

    Args:
        found: all pairs of a tree; more images than masks are no error in it.
        named: of each split the names.
        files: the lists, for messages.
    """
    known = {pair.name: pair for pair in found.pairs}
    splits: dict[str, list[Pair]] = {}
    # Most images of a tree may have boxes alone; a list says which have masks.
    findings = [item for item in found.findings if item.kind != "pair"]
    for split, names in named.items():
        splits[split] = [
            dataclasses.replace(known[name], split=split)
            for name in names
            if name in known
        ]
        missing = [name for name in names if name not in known]
        findings += _not_there(files[split], missing)
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
