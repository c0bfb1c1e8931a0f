"""The table of formats: a further one is a module of its own and a line here."""

from pathlib import Path

from resseg.data.labels import (
    cityscapes,
    coco,
    cvat,
    dicom,
    dicom_seg,
    geojson,
    imagej,
    label_studio,
    labelme,
    masks,
    nifti,
    nnunet,
    voc,
    yolo,
)
from resseg.data.labels.evidence import look_at
from resseg.data.labels.formats import Format
from resseg.errors import UserError, choose

FORMATS = (
    coco.FORMAT,
    labelme.FORMAT,
    cvat.FORMAT,
    label_studio.FORMAT,
    yolo.FORMAT,
    cityscapes.FORMAT,
    geojson.FORMAT,
    imagej.FORMAT,
    voc.FORMAT,
    masks.FORMAT,
    nnunet.FORMAT,
    nifti.FORMAT,
    dicom.FORMAT,
    dicom_seg.FORMAT,
)
NAMES = tuple(row.name for row in FORMATS)


def format_of(path: Path, name: str | None) -> Format:
    """The format of label files: what the user says, else what their content says.

    Raises:
        UserError: no such format or file, or the content fits none or several.
    """
    if not path.exists():
        raise UserError(f"--labels {path}: no such file or folder")
    if name is not None:
        choose("--format", name, NAMES)
        return next(row for row in FORMATS if row.name == name)
    seen = look_at(path)
    fitting = [row for row in FORMATS if row.fits(seen)]
    if len(fitting) == 1:
        return fitting[0]
    may = ", ".join(row.name for row in fitting)
    what = f"may be {may}" if fitting else "is of no format that its content tells"
    raise UserError(
        f"--labels {path}: {what}; say which with --format: {', '.join(NAMES)}"
    )
