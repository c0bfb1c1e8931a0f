"""The temperatures that were fitted to the checkpoints of a run, in its folder.

They stand beside the logs and the checkpoints, which stay as they are.
"""

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from resseg.runs import layout
from resseg.runs.json_files import read_json, values_of, write_json

_TEMPERATURES = "temperatures"


class Calibration(NamedTuple):
    """A temperature, and what it was fitted to.

    Attributes:
        step: of the checkpoint.
        temperature: by which its logits are divided before each softmax; above 0.
        data: the data set.
        split: of it.
        images: of the split.
    """

    step: int
    temperature: float
    data: str
    split: str
    images: int


def read_calibrations(workdir: str | os.PathLike) -> list[Calibration]:
    """Those of a run, by step; none where none was fitted.

    Raises:
        UserError: the file is damaged.
    """
    file = Path(workdir) / layout.CALIBRATION
    if not file.exists():
        return []
    with values_of(file):
        return [checked(entry) for entry in read_json(file)[_TEMPERATURES]]


def read_calibration(workdir: str | os.PathLike, step: int) -> Calibration | None:
    """That of the checkpoint of a step, or None.

    Raises:
        UserError: the file is damaged.
    """
    return next(
        (each for each in read_calibrations(workdir) if each.step == step), None
    )


def write_calibrations(
    workdir: str | os.PathLike, calibrations: Sequence[Calibration]
) -> None:
    """Replaces all of a run; with none, there is no file any more."""
    file = Path(workdir) / layout.CALIBRATION
    if not calibrations:
        file.unlink(missing_ok=True)
        return
    entries = [each._asdict() for each in sorted(calibrations)]
    write_json(file, {_TEMPERATURES: entries})


def checked(entry: dict) -> Calibration:
    """The calibration that JSON says.

    Raises:
        KeyError, TypeError, ValueError: it is none.
    """
    calibration = Calibration(
        step=int(entry["step"]),
        temperature=float(entry["temperature"]),
        data=str(entry["data"]),
        split=str(entry["split"]),
        images=int(entry["images"]),
    )
    if not (math.isfinite(calibration.temperature) and calibration.temperature > 0):
        raise ValueError(f"temperature {calibration.temperature}, expected above 0")
    return calibration
