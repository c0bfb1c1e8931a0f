"""A folder of masks, one file for each image: values or colours, as `--masks`."""

from resseg.data import pairs
from resseg.data.labels.evidence import Evidence
from resseg.data.labels.formats import Format, Labelled, Reading, Request
from resseg.data.reading import IMAGE_SUFFIXES
from resseg.errors import UserError


def _fits(seen: Evidence) -> bool:
    if not seen.path.is_dir() or seen.has("JPEGImages", "SegmentationClass"):
        return False
    return seen.suffixes <= set(IMAGE_SUFFIXES)


def read(request: Request) -> Reading:
    """Matches the masks of a folder with images by name.

    Raises:
        UserError: no folder of images is named.
    """
    if request.root is None:
        raise UserError("--images DIR is missing: these labels are masks")
    found = pairs.scan_pairs(request.root, request.labels)
    return Reading(
        [
            Labelled(pair.name, pair.image, pair.mask, request.split)
            for pair in found.pairs
        ],
        [],
        found.findings,
    )


FORMAT = Format(
    name="masks",
    what="a folder of masks; --values, --colors, --binary, --first say what they hold",
    rasteriser="none: pixels as they are",
    fits=_fits,
    read=read,
    painted=False,
)
