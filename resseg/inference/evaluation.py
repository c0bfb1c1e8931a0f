"""One evaluation of a run: what was scored, how, and what came out; as JSON."""

import dataclasses
import hashlib
import math
from functools import cached_property
from typing import Any

import numpy as np

from resseg.inference import intervals
from resseg.inference.intervals import Interval
from resseg.inference.per_image import PerImage


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """What `resseg evaluate` says.

    Attributes:
        runs: folders of those whose probabilities were averaged.
        step: of the weights of the first.
        data, split: that were scored.
        classes: in the order of per-class scores.
        words: how probabilities were made.
        plain: by one pass of one network, with the weights of a checkpoint.
        temperatures: by which the logits of each run were divided.
        scores: of the split.
        images: what was counted of each.
    """

    runs: tuple[str, ...]
    step: int
    data: str
    split: str
    classes: tuple[str, ...]
    words: str
    plain: bool
    temperatures: tuple[float, ...]
    scores: dict[str, Any]
    images: PerImage

    @cached_property
    def intervals(self) -> dict[str, Interval]:
        """Over images, by the names of scores; empty where there are too few."""
        return intervals.intervals(self.images.sums())

    @property
    def file_name(self) -> str:
        """The same for what was scored in the same way, without a suffix."""
        name = f"{self.data}-{self.split}-{self.step}"
        if self.plain:
            return name
        asked = "\n".join((self.words, *self.runs))
        return f"{name}-{hashlib.sha256(asked.encode()).hexdigest()[:8]}"

    @property
    def name(self) -> str:
        """The runs, for people."""
        return ", ".join(self.runs)

    def differences_from(self, other: "Evaluation") -> dict[str, Interval]:
        """Paired intervals of this run's scores less those of another."""
        return intervals.differences(other.images.sums(), self.images.sums())

    def record(self) -> dict[str, Any]:
        """For JSON; what is not defined is null."""
        kept = ("step", "data", "split", "words")
        calibration = self.images.calibration
        record: dict[str, Any] = {name: getattr(self, name) for name in kept} | {
            "runs": list(self.runs),
            "temperatures": list(self.temperatures),
            "classes": list(self.classes),
            "images": len(self.images.names),
            "scores": {name: _plain(value) for name, value in self.scores.items()},
            "intervals": as_json(self.intervals),
            "level": intervals.LEVEL,
        }
        if calibration is not None:
            tables = calibration.reliability()
            record["reliability"] = {
                name: _plain(table) for name, table in tables.items()
            }
        return record


def as_json(known: dict[str, Interval]) -> dict[str, Any]:
    """Intervals as `[low, high]`, of classes as lists of these."""
    return {
        name: _plain(np.stack([interval.low, interval.high], -1))
        for name, interval in known.items()
    }


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return float(value) if math.isfinite(value) else None
