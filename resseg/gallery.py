"""The pictures of an evaluation."""

from pathlib import Path

import numpy as np

from resseg.data import DatasetSpec
from resseg.report.pictures import save_prediction


class Gallery:
    """Writes overlays of `count` images spread evenly over a split."""

    def __init__(self, folder: Path, spec: DatasetSpec, split: str, count: int):
        self._folder, self._spec = folder, spec
        total = spec.splits[split]
        picked = np.linspace(0, total - 1, min(count, total)).round()
        self._wanted, self._seen = set(picked.astype(int).tolist()), 0

    def __call__(
        self, image: np.ndarray, label: np.ndarray, prediction: np.ndarray, name: str
    ) -> None:
        if self._seen in self._wanted:
            self._folder.mkdir(exist_ok=True)
            path = self._folder / f"{Path(name).stem}.png"
            save_prediction(path, image, label, prediction, self._spec.classes)
        self._seen += 1
