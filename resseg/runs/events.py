"""TensorBoard event files, written without TensorFlow; all that knows tensorboardX."""

import logging
import os
from collections.abc import Mapping
from typing import Any

import numpy as np
from tensorboardX import SummaryWriter

# It warns of each NaN; the score of a class that is absent is one at every evaluation.
logging.getLogger("tensorboardX.x2num").setLevel(logging.ERROR)


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
        """Each number as `group/name`; a list as one curve per element.

        What is text, as the hash of a batch, is no curve.
        """
        for name, value in values.items():
            if isinstance(value, str):
                continue
            array = np.asarray(value, np.float64)
            if array.ndim == 0:
                self._writer.add_scalar(f"{group}/{name}", float(array), step)
            else:
                for index, item in enumerate(array.ravel()):
                    tag = f"{group}_{name}/{index}"
                    self._writer.add_scalar(tag, float(item), step)

    def flush(self) -> None:
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()
