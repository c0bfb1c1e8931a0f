"""The batches that a run has dropped from its data, in its folder.

A run that goes on leaves out what is listed: its data never held them.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from resseg.runs import layout
from resseg.runs.json_files import read_json, values_of, write_json

_BATCHES = "batches"


class Dropped(NamedTuple):
    """A batch that was dropped.

    Attributes:
        batch: its number in the data, from 0.
        step: of the update that it was to make.
        reason: what was not finite.
    """

    batch: int
    step: int
    reason: str


def read_dropped(workdir: str | os.PathLike) -> list[Dropped]:
    """Those of a run, in the order in which they were met.

    Raises:
        UserError: the list is damaged.
    """
    file = Path(workdir) / layout.DROPPED
    if not file.exists():
        return []
    with values_of(file):
        return [
            Dropped(int(entry["batch"]), int(entry["step"]), str(entry["reason"]))
            for entry in read_json(file)[_BATCHES]
        ]


def write_dropped(workdir: str | os.PathLike, dropped: Sequence[Dropped]) -> None:
    """Replaces the list; before anything is trained without what is in it."""
    entries = [each._asdict() for each in dropped]
    write_json(Path(workdir) / layout.DROPPED, {_BATCHES: entries})
