"""The evaluations of a run: its scores while it trains, and which are the best."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from resseg import runs
from resseg.data import DatasetSpec
from resseg.inference.evaluator import Evaluator
from resseg.processes.group import ALONE, Group
from resseg.runs import layout
from resseg.training.clock import Clock
from resseg.training.stops import Stop


class Evaluations:
    """Scores weights on the evaluation split of a run.

    Args:
        folder: of the run.
        config: of the run.
        spec: of its data.
        evaluator: of its network.
        group: of the processes that train it; the first alone reads the log and draws.
    """

    def __init__(
        self,
        folder: Path,
        config: Any,
        spec: DatasetSpec,
        evaluator: Evaluator,
        group: Group = ALONE,
    ):
        self._group = group
        self._folder, self._spec, self._evaluator = folder, spec, evaluator
        self._split, self._pictures = config.data.eval_split, config.eval.predictions

    def are_made(self, step: int) -> bool:
        """Whether the log has that of a step."""

        def made() -> bool:
            rows = runs.read_evaluations(self._folder)
            return any(row["step"] == step for row in rows)

        return self._group.by_first(made)

    def score(
        self,
        variables: Mapping[str, Any],
        stop: Stop | None = None,
        clock: Clock | None = None,
        *,
        draw: bool,
    ) -> dict[str, Any] | None:
        """Scores of `variables`; with `draw`, the folder shows predictions of them.

        None where it was asked to stop meanwhile.
        """
        gallery = None
        if draw and self._group.leads:
            # Figures take long to import: not before the first step.
            from resseg.inference.gallery import Gallery

            folder = self._folder / layout.PREDICTIONS
            gallery = Gallery(folder, self._spec, self._split, self._pictures)

        def look() -> None:
            if clock is not None:
                clock.beats += 1
            if stop is not None:
                stop.agree()
                if stop.asked:
                    raise _Cut

        try:
            return self._evaluator(variables, self._split, gallery, look, whole=draw)
        except _Cut:
            return None

    def are_best(self, scores: Mapping[str, Any]) -> bool:
        """Whether their mean IoU is above that of every evaluation in the log.

        One that is not defined is best of nothing, and above no other.
        """
        if math.isnan(scores["mean_iou"]):
            return False

        def above() -> bool:
            earlier = [row["mean_iou"] for row in runs.read_evaluations(self._folder)]
            return all(
                scores["mean_iou"] > score for score in earlier if score == score
            )

        return self._group.by_first(above)


class _Cut(Exception):
    """An evaluation ends between two batches."""
