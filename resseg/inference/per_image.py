"""What an evaluation counts of each image, for intervals over images."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from resseg.inference import metrics
from resseg.inference.calibration import Calibration, Counted


class PerImage:
    """Counts of each image of a split; a few numbers per class, not its pixels.

    Args:
        classes: how many there are.
        calibrated: whether probabilities are counted too.
    """

    def __init__(self, classes: int, *, calibrated: bool = False):
        self.names: list[str] = []
        self.calibration = Calibration(classes) if calibrated else None
        self._classes = classes
        self._rows: list[tuple[np.ndarray, ...]] = []

    def take(
        self,
        name: str,
        label: np.ndarray,
        prediction: np.ndarray,
        boundary: np.ndarray,
    ) -> None:
        """Takes an image.

        Args:
            name: of it.
            label, prediction: class indices `[height, width]`.
            boundary: of `metrics.boundary_counts`.
        """
        counts = metrics.confusion_matrix(label, prediction, self._classes)
        self.names.append(name)
        self._rows.append((np.diag(counts), counts.sum(1), counts.sum(0), boundary))

    def take_batch(self, batch: Mapping[str, Any], counted: Counted) -> None:
        """Takes what was counted of the probabilities of a batch."""
        if self.calibration is not None:
            self.calibration.add_batch(batch, counted)

    def sums(self) -> dict[str, np.ndarray]:
        """Per image, in the order of their names, float64: see `scores_of_sums`.

        `hits`, `true` and `predicted` `[images, classes]`, `boundary` `[images,
        classes, 2]`, and those of `Calibration.sums`.
        """
        columns = map(np.array, zip(*self._rows, strict=True))
        names = ("hits", "true", "predicted", "boundary")
        sums = {
            name: column.astype(np.float64)
            for name, column in zip(names, columns, strict=True)
        }
        sums |= self.calibration.sums() if self.calibration else {}
        order = np.argsort(np.array(self.names, object), kind="stable")
        return {name: value[order] for name, value in sums.items()}
