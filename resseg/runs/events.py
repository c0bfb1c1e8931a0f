"""TensorBoard event files, written without TensorFlow; all that knows tensorboardX."""

import logging
import os
from collections.abc import Mapping
from typing import Any

import numpy as np
from tensorboardX import SummaryWriter

# It warns of each NaN; the score of a class that is absent is one at every evaluation.
logging.getLogger("tensorboardX.x2num").setLevel(logging.ERROR)


def scalars(group: str, values: Mapping[str, Any]) -> dict[str, float]:
    """Each number as `group/name`; a list as one curve per element.

    What is text, as the hash of a batch, is no curve.
    """
    named = {}
    for name, value in values.items():
        if isinstance(value, str):
            continue
        array = np.asarray(value, np.float64)
        if array.ndim == 0:
            named[f"{group}/{name}"] = float(array)
        else:
            for index, item in enumerate(array.ravel()):
                named[f"{group}_{name}/{index}"] = float(item)
    return named


class EventWriter:
    """Scalars into `folder`; on resume, later steps of earlier files are purged."""

    def __init__(self, folder: str | os.PathLike, resume_step: int | None):
        # TensorBoard drops what earlier files hold from the purge step on.
        purge_step = None if resume_step is None else resume_step + 1
        self._writer = SummaryWriter(
            os.fspath(folder),
            purge_step=purge_step,
            # File names hold whole seconds: a quick resume must not hit the same one.
            filename_suffix=f".{resume_step or 0}",
        )

    def write(self, step: int, group: str, values: Mapping[str, Any]) -> None:
        """Writes `scalars` of a step."""
        for tag, value in scalars(group, values).items():
            self._writer.add_scalar(tag, value, step)

    def flush(self) -> None:
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()
