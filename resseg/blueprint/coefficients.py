from typing import Any

import jax
import numpy as np

from resseg.blueprint.network import build_segmenter
from resseg.config import coefficients
from resseg.gradients.coefficients import on_line
from resseg.gradients.fork import initial_paths
from resseg.models.segmenter import Segmenter


class PathLines:
    """The coefficients of every config of one structure, traced once.

    The network is traced with numbers in the place of coefficients, so that each leaf
    of the `paths` collection says which of them it holds.
    """

    def __init__(self, config: Any, num_classes: int):
        self._num_classes = num_classes
        model, _ = self._numbered(config)
        self._places = initial_paths(model, (1, *config.data.crop, 3))

    def __call__(self, config: Any) -> dict[str, Any]:
        """For `TrainState.schedules`: float32 `[4]` per leaf."""
        _, schedules = self._numbered(config)
        return jax.tree.map(
            lambda place: np.asarray(schedules[int(place)], np.float32), self._places
        )

    def start(self, config: Any) -> dict[str, Any]:
        """The `paths` collection at step 0."""
        _, schedules = self._numbered(config)
        return jax.tree.map(
            lambda place: np.float32(on_line(schedules[int(place)], 0)), self._places
        )

    def _numbered(self, config: Any) -> tuple[Segmenter, list[coefficients.Schedule]]:
        met: list[coefficients.Schedule] = []

        def pick(schedule: coefficients.Schedule) -> float:
            met.append(schedule)
            return float(len(met) - 1)

        return build_segmenter(config.model, self._num_classes, pick), met
