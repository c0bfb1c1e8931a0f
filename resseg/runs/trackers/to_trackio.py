"""Trackio; all that knows trackio.

What its environment variables say holds: TRACKIO_DIR, TRACKIO_SPACE_ID …
"""

import os
import uuid
from collections.abc import Mapping

from resseg.runs.trackers.tracker import PROJECT, About


class Trackio:
    """A run of Trackio; see `Tracker`.

    It knows runs by their names, so that each has some letters of its own behind it.
    """

    def __init__(self, about: About):
        import trackio  # pyright: ignore[reportMissingImports]

        self.identity = about.identity or f"{about.name}-{uuid.uuid4().hex[:6]}"
        project = os.environ.get("TRACKIO_PROJECT") or PROJECT
        self._run = trackio.init(
            project=project,
            name=self.identity,
            group=about.group or None,
            config=about.config,
            resume="must" if about.identity else "never",
            embed=False,
            auto_log_gpu=False,
            auto_log_cpu=False,
        )
        self.place = f"project {project}, run {self.identity}"

    def write(self, step: int, values: Mapping[str, float]) -> None:
        self._run.log(dict(values), step=step)

    def finish(self) -> None:
        self._run.finish()
