"""Images of any size -> class masks, probabilities and pictures."""

import io
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from resseg.data import VOID
from resseg.data.colors import overlay, palette
from resseg.data.pipeline import PlannedBatch, padded_batch
from resseg.errors import naming
from resseg.inference.ensemble import Ensemble
from resseg.inference.pictures import write_picture


class Predicted(NamedTuple):
    """What was made of the images of a batch, one of each in the order of `images`.

    Attributes:
        planned: the batch.
        images: as they were given.
        masks: class indices, uint8 `[height, width]`.
        probabilities: float32 `[height, width, classes]`; empty where nobody asked.
    """

    planned: PlannedBatch
    images: Sequence[np.ndarray]
    masks: list[np.ndarray]
    probabilities: list[np.ndarray]


class Predictor:
    """Predicts images as `resseg evaluate` predicts those of a split.

    The same batches, padding and compiled programs, so that the masks of a split's
    images are, to the last pixel, those that were scored.

    Args:
        ensemble: the networks, and how their class probabilities are averaged.
    """

    def __init__(self, ensemble: Ensemble):
        self._ensemble = ensemble
        self._data = ensemble.members[0].config.data
        self.plan = ensemble.plan

    def predict(
        self,
        batches: Iterable[tuple[PlannedBatch, Sequence[np.ndarray]]],
        probabilities: bool = False,
    ) -> Iterator[Predicted]:
        """Masks of the images of each batch, and with `probabilities` those too.

        A batch comes back when the next one has been asked for and is computed.

        Args:
            batches: of `plan`, each with its images, uint8 RGB `[height, width, 3]`,
                those of `planned.indices`.
            probabilities: whether they are wanted.
        """
        asked = (self._batch(*given) | {"given": given} for given in batches)
        for batch, outputs in self._ensemble.run(asked, probabilities):
            planned, images = batch["given"]
            values = list(_cut(outputs[3], images)) if probabilities else []
            yield Predicted(planned, images, list(_cut(outputs[0], images)), values)

    def _batch(self, planned: PlannedBatch, images: Sequence[np.ndarray]) -> Any:
        examples = [
            {"image": image, "mask": np.full(image.shape[:2], VOID), "name": ""}
            for image in images
        ]
        return padded_batch(planned, examples, self._data)


def _cut(padded: Any, images: Sequence[np.ndarray]) -> Iterator[np.ndarray]:
    """What was computed of each image, without its padding."""
    for values, image in zip(np.asarray(padded), images, strict=False):
        yield values[: image.shape[0], : image.shape[1]]


def file_names(stem: str, probabilities: bool) -> list[str]:
    """Names of all files that are made of an image; a dot in `stem` is no suffix."""
    names = [f"{stem}.png", f"{stem}_color.png", f"{stem}_overlay.png"]
    return [*names, f"{stem}_probabilities.npy"] if probabilities else names


def write_pictures(
    folder: Path, stem: str, image: np.ndarray, classes: np.ndarray, count: int
) -> None:
    """Writes `STEM.png` (class indices), `STEM_color.png` and `STEM_overlay.png`.

    Args:
        folder: that they are written to.
        stem: as for `file_names`.
        image: uint8 RGB `[height, width, 3]`.
        classes: uint8 `[height, width]`.
        count: how many classes there are.

    Raises:
        OSError: one of them cannot be written.
    """
    indices, colored, painted = (folder / name for name in file_names(stem, False))
    write_picture(indices, classes)
    with naming(colored):
        colored.write_bytes(_with_palette(classes, count))
    write_picture(painted, overlay(image, classes, count))


def _with_palette(classes: np.ndarray, count: int) -> bytes:
    """A palette PNG: a viewer shows colours, Pillow reads the class indices.

    OpenCV reads the colours of a palette, so this cannot stand for the mask itself.
    """
    height, width = classes.shape
    picture = Image.frombytes("P", (width, height), classes.tobytes())
    picture.putpalette(palette(count).tobytes())
    content = io.BytesIO()
    picture.save(content, format="PNG")
    return content.getvalue()
