"""Pascal VOC: the tree of the official archive, with masks in a palette of colours."""

from resseg.data.labels.evidence import Evidence
from resseg.data.labels.formats import Format, Labelled, Reading, Request
from resseg.data.layouts import layout
from resseg.errors import UserError


def _fits(seen: Evidence) -> bool:
    return seen.has("JPEGImages", "SegmentationClass") or seen.root == "annotation"


def read(request: Request) -> Reading:
    """Reads the tree; its lists say the splits.

    Raises:
        UserError: it is another tree, or holds boxes alone.
    """
    path = request.labels
    if not (path / "SegmentationClass").is_dir():
        raise UserError(f"{path}: no folder SegmentationClass: boxes are no masks")
    if request.root is not None:
        raise UserError("--images: the tree of Pascal VOC holds its images; drop it")
    tree = layout("voc")
    found = tree.scan(path)
    images = [
        Labelled(pair.name, pair.image, pair.mask, pair.split) for pair in found.pairs
    ]
    return Reading(images, [], found.findings, tree.classes, tree.rule)


FORMAT = Format(
    name="voc",
    what="Pascal VOC: the tree with JPEGImages, SegmentationClass and lists of splits",
    rasteriser="none: pixels as they are",
    fits=_fits,
    read=read,
    painted=False,
)
