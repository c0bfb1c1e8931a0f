"""The images that a run could not read and replaced, in its folder."""

import os
from collections.abc import Mapping
from pathlib import Path

from resseg.runs import layout
from resseg.runs.json_files import read_json, values_of, write_json

_IMAGES = "images"


def read_unread(workdir: str | os.PathLike) -> dict[int, str]:
    """Why each could not be read, by its index in the split.

    Raises:
        UserError: the list is damaged.
    """
    file = Path(workdir) / layout.UNREAD
    if not file.exists():
        return {}
    with values_of(file):
        images = read_json(file)[_IMAGES].items()
        return {int(index): str(why) for index, why in images}


def write_unread(workdir: str | os.PathLike, images: Mapping[int, str]) -> None:
    """Replaces the list."""
    by_index = {str(index): why for index, why in images.items()}
    write_json(Path(workdir) / layout.UNREAD, {_IMAGES: by_index})
