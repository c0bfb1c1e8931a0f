"""NIfTI: a volume of labels for each volume of an image, cut into slices."""

from resseg.data.findings import Finding
from resseg.data.labels.evidence import Evidence
from resseg.data.labels.formats import Format, Labelled, Reading, Request
from resseg.data.labels.places import Images, files_below, stem
from resseg.data.labels.volumes import (
    USUAL_AXIS,
    SliceImage,
    SliceMask,
    Volume,
    open_volume,
    require_alike,
)
from resseg.errors import UserError

SUFFIXES = (".nii", ".nii.gz")


def _fits(seen: Evidence) -> bool:
    named = ".nii" in seen.suffixes or ".gz" in seen.suffixes
    return named and not seen.has("dataset.json")


def read(request: Request) -> Reading:
    """Matches volumes of a folder with those of the images by name, or two files.

    Raises:
        UserError: a file is damaged, or two volumes differ in shape or place.
    """
    path, root = request.labels, request.root
    if root is None:
        raise UserError("--images is missing: a volume, or a folder of volumes")
    reading = Reading([], [])
    if path.is_file() and root.is_file():
        found = [(path, root)]
    else:
        files = files_below(path, SUFFIXES) if path.is_dir() else [path]
        images = Images(root, SUFFIXES)
        found = []
        for file in files:
            name = stem(file).removesuffix("_seg").removesuffix("-seg")
            name = name if images.holds_stem(name) else stem(file)
            try:
                image = images.find_stem(name, str(file))
                images.take(image, str(file))
            except UserError as error:
                message = str(error).partition(": ")[2]
                reading.findings.append(Finding("pair", str(file), message))
            else:
                found.append((file, image))
        reading.findings += images.unused()
    for file, image in found:
        volume, mask = open_volume(image), open_volume(file)
        require_alike(volume, mask)
        reading.images += slices(stem(image), (volume,), mask, request)
    return reading


def slices(
    name: str, volumes: tuple[Volume, ...], mask: Volume, request: Request
) -> list[Labelled]:
    """The slices of a volume and its mask; they stay in one split."""
    axis = USUAL_AXIS if request.options.axis is None else request.options.axis
    window = request.options.window
    return [
        Labelled(
            f"{name}-{index:04d}",
            SliceImage(volumes, axis, index, window),
            SliceMask(mask, axis, index),
            request.split,
            name,
        )
        for index in range(mask.slices(axis))
    ]


FORMAT = Format(
    name="nifti",
    what="NIfTI: slices of volumes across --axis (2: the last one)",
    rasteriser="none: nibabel's voxels, array[:, :, k].T",
    fits=_fits,
    read=read,
    painted=False,
    needs="nibabel",
)
