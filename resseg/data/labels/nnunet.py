"""nnU-Net: `imagesTr`, `labelsTr` and `dataset.json`.

The form is that of github.com/MIC-DKFZ/nnUNet (documentation/dataset_format.md), and
that of its first version: channels are files `CASE_0000`, `CASE_0001`, ...; the names
and values of classes stand in `dataset.json`; `ignore` is void.
"""

import dataclasses
import re
from pathlib import Path
from typing import Any

import numpy as np

from resseg.data import reading as image_files
from resseg.data.labels.evidence import Evidence
from resseg.data.labels.fields import field, read_json
from resseg.data.labels.formats import Format, Labelled, Reading, Request
from resseg.data.labels.grey import picture
from resseg.data.labels.nifti import SUFFIXES, slices
from resseg.data.labels.painting import size_of
from resseg.data.labels.places import files_below
from resseg.data.labels.volumes import open_volume, require_alike
from resseg.data.mask_rule import MaskRule
from resseg.data.pixels import Picture
from resseg.data.spec import VOID
from resseg.errors import UserError

_CHANNEL = re.compile(r"(.+)_(\d{4})")


def _fits(seen: Evidence) -> bool:
    return seen.has("imagesTr", "labelsTr", "dataset.json")


def read(request: Request) -> Reading:
    """Reads the training cases of a folder.

    Raises:
        UserError: a file is missing or broken, or the regions of classes overlap.
    """
    root = request.labels
    if request.root is not None:
        raise UserError("--images: the tree of nnU-Net holds its images; drop it")
    content = read_json(root / "dataset.json")
    where = str(root / "dataset.json")
    classes, values = _classes(content, where)
    ending = _ending(content, root)
    cases = _cases(root / "imagesTr", ending)
    reading = Reading([], [], classes=classes, rule=MaskRule(values=values))
    masks = files_below(root / "labelsTr", (ending,))
    if not masks:
        raise UserError(f"{root / 'labelsTr'}: holds no file {ending}")
    for mask in masks:
        name = mask.name[: -len(ending)]
        if name not in cases:
            raise UserError(f"{mask}: no {name}_0000{ending} in {root / 'imagesTr'}")
        files = _chosen(cases[name], request.options.channels, name)
        if ending in SUFFIXES:
            volumes = tuple(open_volume(file) for file in files)
            labels = open_volume(mask)
            for volume in volumes:
                require_alike(volume, labels)
            reading.images += slices(name, volumes, labels, request)
        else:
            image = files[0] if len(files) == 1 else Channels(tuple(files))
            reading.images.append(Labelled(name, image, mask, request.split))
    return reading


def _classes(
    content: Any, where: str
) -> tuple[tuple[str, ...], tuple[tuple[int, int], ...]]:
    """Names of classes, and of each value in the files the class or void."""
    labels = field(content, "labels", dict, where)
    if all(str(key).isdecimal() for key in labels):  # of the first version
        labels = {name: int(value) for value, name in labels.items()}
    for name, value in labels.items():
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            raise UserError(
                f"{where}: labels: {name}={value!r}: expected one number; regions that "
                "overlap are no classes"
            )
    ordered = sorted((value, name) for name, value in labels.items())
    kept = [(value, name) for value, name in ordered if name != "ignore"]
    if not 2 <= len(kept) <= VOID or len({v for v, _ in ordered}) < len(ordered):
        raise UserError(f"{where}: labels: expected 2 to {VOID} names and values")
    values = [(value, index) for index, (value, _) in enumerate(kept)]
    values += [(value, VOID) for value, name in ordered if name == "ignore"]
    return tuple(name for _, name in kept), tuple(values)


def _ending(content: Any, root: Path) -> str:
    """The suffix of all files, which the first version did not write."""
    if "file_ending" in content:
        ending = field(content, "file_ending", str, str(root / "dataset.json"))
    else:
        ending = ".nii.gz"
    known = (*SUFFIXES, *image_files.IMAGE_SUFFIXES)
    if ending not in known:
        raise UserError(
            f"{root / 'dataset.json'}: file_ending={ending!r}: expected one of "
            f"{', '.join(known)}"
        )
    return ending


def _cases(folder: Path, ending: str) -> dict[str, list[Path]]:
    """The channels of each case, in their order."""
    cases: dict[str, list[Path]] = {}
    for file in files_below(folder, (ending,)):
        named = _CHANNEL.fullmatch(file.name[: -len(ending)])
        if named is None:
            raise UserError(f"{file}: expected CASE_0000{ending}")
        if int(named[2]) != len(cases.setdefault(named[1], [])):
            raise UserError(f"{file}: a channel before it is missing")
        cases[named[1]].append(file)
    return cases


def _chosen(
    files: list[Path], channels: tuple[int, ...] | None, name: str
) -> list[Path]:
    """One file, or three: those that are asked for, or all of them."""
    if channels is None:
        if len(files) not in (1, 3):
            raise UserError(
                f"{name}: {len(files)} channels; say which one or three with --channels"
            )
        return files
    if max(channels) >= len(files):
        raise UserError(
            f"--channels {','.join(map(str, channels))}: {name} has {len(files)}"
        )
    return [files[channel] for channel in channels]


@dataclasses.dataclass(frozen=True)
class Channels:
    """An image whose red, green and blue are files of their own."""

    files: tuple[Path, ...]

    def __str__(self) -> str:
        return str(self.files[0])

    @property
    def size(self) -> tuple[int, int]:
        return size_of(self.files[0])

    def load(self) -> Picture:
        channels = []
        for file in self.files:
            values = image_files.load_image(file).upright_rgb()
            if values.dtype != np.uint8:
                raise UserError(f"{file}: a channel of more than 8 bits")
            channels.append(values[..., 0])
            if channels[-1].shape != channels[0].shape:
                raise UserError(f"{file}: not of the size of {self.files[0]}")
        return picture(self.files[0], "channels", np.stack(channels, axis=2))


FORMAT = Format(
    name="nnunet",
    what="nnU-Net: imagesTr, labelsTr, dataset.json; NIfTI slices, PNG or TIFF",
    rasteriser="none: pixels as they are",
    fits=_fits,
    read=read,
    painted=False,
)
