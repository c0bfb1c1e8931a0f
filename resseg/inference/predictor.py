"""Images of any size -> class masks, probabilities and pictures."""

import io
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh
from PIL import Image

from resseg.architecture import padding_multiple
from resseg.data import VOID
from resseg.data.colors import overlay, palette
from resseg.data.pipeline import PlannedBatch, padded_batch, plan_batches
from resseg.errors import naming
from resseg.inference.evaluator import compile_evaluation, run_ahead, softmax
from resseg.inference.pictures import write_picture
from resseg.inference.trained import Trained


class Predictor:
    """Predicts images as `resseg evaluate` predicts those of a split.

    The same batches, padding and compiled program, so that the masks of a split's
    images are, to the last pixel, those that were scored.

    Args:
        trained: the network, its weights and their temperature.
        mesh: whole images are split over all its devices.
        flip: average each image with its mirror image.
    """

    def __init__(self, trained: Trained, mesh: Mesh, *, flip: bool = False):
        self._config, self._mesh, self._flip = trained.config, mesh, flip
        self._model = trained.model
        self._variables = jax.device_put(trained.variables)
        classes = len(trained.classes)
        self._temperature = trained.temperature
        self._step = compile_evaluation(
            trained.model, classes, mesh, flip, trained.temperature
        )
        self._softmax = jax.jit(self._mean_softmax)

    def plan(self, sizes: Sequence[tuple[int, int]]) -> list[PlannedBatch]:
        """Batches of images of these heights and widths."""
        multiple = padding_multiple(self._config.model)
        return plan_batches(
            np.asarray(sizes), multiple, self._config.data.eval_batch_size
        )

    def masks(
        self, batches: Iterable[tuple[PlannedBatch, Sequence[np.ndarray]]]
    ) -> Iterator[tuple[PlannedBatch, Sequence[np.ndarray], list[np.ndarray]]]:
        """Class indices, uint8 `[height, width]`, of the images of each batch.

        A batch comes back when the next one has been asked for and is computed.

        Args:
            batches: of `plan`, each with its images, uint8 RGB `[height, width, 3]`,
                those of `planned.indices`.

        Yields:
            A batch, its images and their masks.
        """
        asked = (self._batch(*given) | {"given": given} for given in batches)
        for batch, (masks, *_) in run_ahead(
            self._step, self._variables, asked, self._mesh
        ):
            planned, images = batch["given"]
            yield planned, images, list(_cut(masks, images))

    def probabilities(
        self, planned: PlannedBatch, images: Sequence[np.ndarray]
    ) -> list[np.ndarray]:
        """float32 `[height, width, classes]` of the images of a batch."""
        batch = self._batch(planned, images)
        return list(_cut(self._softmax(self._variables, batch["image"]), images))

    def _batch(self, planned: PlannedBatch, images: Sequence[np.ndarray]) -> Any:
        examples = [
            {"image": image, "mask": np.full(image.shape[:2], VOID), "name": ""}
            for image in images
        ]
        return padded_batch(planned, examples, self._config.data)

    def _mean_softmax(self, variables: Any, images: jax.Array) -> jax.Array:
        def predict(images: jax.Array) -> jax.Array:
            outputs: Any = self._model.apply(variables, images, train=False)
            return softmax(outputs["logits"], self._temperature)

        if not self._flip:
            return predict(images)
        return (predict(images) + predict(images[:, :, ::-1])[:, :, ::-1]) / 2


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
