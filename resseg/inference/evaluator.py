"""One exact pass over a split."""

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from resseg import sharding
from resseg.architecture import padding_multiple
from resseg.console import counting
from resseg.data import DatasetSpec, pipeline
from resseg.inference import metrics
from resseg.inference.parts import fill, part_of
from resseg.inference.per_image import PerImage
from resseg.processes.group import ALONE, Group

Batch = Mapping[str, Any]
# Batches -> each with what was computed of it.
Predict = Callable[[Iterable[Batch]], Iterator[tuple[Batch, tuple[np.ndarray, ...]]]]
# Called with image uint8 [h, w, 3], label and prediction uint8 [h, w], the name, and
# 255 times the probability of the prediction, uint8 [h, w].
OnImage = Callable[[np.ndarray, np.ndarray, np.ndarray, str, np.ndarray], None]


def make_eval_step(
    model: nn.Module,
    num_classes: int,
    flip: bool = False,
    confidence: bool = False,
    temperature: float = 1.0,
) -> Callable[[Mapping, Mapping], tuple[jax.Array, ...]]:
    """Builds `eval_step(variables, batch) -> (predictions, confusion)`.

    Predictions are uint8 `[batch, height, width]`, the confusion matrix int32 `[truth,
    prediction]` over every pixel that is not void. With `flip` the class probabilities
    are the mean of those of the image and of its mirror image. With `confidence` a
    third result is 255 times the probability of the predicted class, uint8 `[batch,
    height, width]`.

    Logits are divided by `temperature` before each softmax. Predictions do not depend
    on it, but with `flip`, where the mean of two softmaxes may have its maximum
    elsewhere.
    """

    def scores(variables, images):
        outputs: Any = model.apply(variables, images, train=False)
        return outputs["logits"]

    def eval_step(variables, batch):
        logits = scores(variables, batch["image"])
        if flip:
            mirrored = scores(variables, batch["image"][:, :, ::-1])[:, :, ::-1]
            logits = softmax(logits, temperature) + softmax(mirrored, temperature)
        predictions = logits.argmax(-1)
        confusion = metrics.confusion_matrix(batch["label"], predictions, num_classes)
        results = predictions.astype(jnp.uint8), confusion
        if not confidence:
            return results
        # Of two softmaxes the sum is there already.
        probability = logits / 2 if flip else softmax(logits, temperature)
        largest = jnp.rint(255 * probability.max(-1).astype(jnp.float32))
        return *results, largest.astype(jnp.uint8)

    return eval_step


def softmax(logits: jax.Array, temperature: float) -> jax.Array:
    """Class probabilities; a temperature of 1 costs nothing and changes no bit."""
    return jax.nn.softmax(logits if temperature == 1 else logits / temperature)


def compile_evaluation(
    model: Any,
    num_classes: int,
    mesh: Mesh,
    flip: bool = False,
    temperature: float = 1.0,
) -> Any:
    """The jitted evaluation step; each size of image compiles once."""
    whole, batch = sharding.replicated(mesh), sharding.by_image(mesh)
    return jax.jit(
        make_eval_step(model, num_classes, flip, True, temperature),
        in_shardings=(whole, batch),
        out_shardings=(sharding.readable(batch), whole, sharding.readable(batch)),
    )


def run_ahead(
    step: Any,
    variables: Any,
    batches: Iterable[Batch],
    mesh: Mesh,
    part: Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]] | None = None,
) -> Iterator[tuple[Batch, tuple[np.ndarray, ...]]]:
    """Each batch with its predictions, confusion matrix and confidence.

    A batch is handed out when the next one is on the device, so that what is done with
    it, and reading the one after, takes place while the device computes.

    Args:
        step: what `compile_evaluation` made; see `make_eval_step` for its results.
        variables: of the network.
        batches: with `image` and `label`; filled up until devices share them evenly.
        mesh: its devices.
        part: of the arrays of a batch, what this process puts on devices, where several
            share one; None = all, filled up until devices share it evenly.
    """
    before, part = None, part or functools.partial(fill, multiple=mesh.size)
    for batch in batches:
        arrays = part({name: batch[name] for name in ("image", "label")})
        results = step(variables, sharding.put_batch(arrays, sharding.by_image(mesh)))
        if before is not None:
            yield before[0], jax.device_get(before[1])
        before = batch, results
    if before is not None:
        yield before[0], jax.device_get(before[1])


class Evaluator:
    """Evaluates variables on a split: every image once, at its own size.

    Images are padded on the right and below; the padding is void and counts nowhere.
    There is one confusion matrix for the whole split.

    Args:
        config: the run's config; `config.data` may name another data set.
        model: the network.
        spec: of the data set that is evaluated.
        mesh: whole images are split over all its devices.
        flip: average each image with its mirror image.
        temperature: by which logits are divided before each softmax.
        step: what `compile_evaluation` made of this network before.
        predict: batches -> each with its outputs, see `run_ahead`, in place of a step.
        multiple: that sides of images are padded to; None = as the network says.
        labels: int32 `[256]`, the class index of the network for each label of the data
            set, see `match_labels`; None = they are the same.
        group: of the processes that evaluate together, of which each reads its part.
    """

    def __init__(
        self,
        config: Any,
        model: Any,
        spec: DatasetSpec,
        mesh: Mesh,
        *,
        flip: bool = False,
        temperature: float = 1.0,
        step: Any = None,
        predict: Predict | None = None,
        multiple: int | None = None,
        labels: np.ndarray | None = None,
        group: Group = ALONE,
    ):
        self._group = group
        self._config, self._spec, self._mesh = config, spec, mesh
        self._labels = labels
        self._predict = predict
        self._multiple = multiple or padding_multiple(config.model)
        self._step = step or compile_evaluation(
            model, spec.num_classes, mesh, flip, temperature
        )

    def __call__(
        self,
        variables: Mapping,
        split: str,
        on_image: OnImage | None = None,
        before_batch: Callable[[], None] | None = None,
        images: PerImage | None = None,
        *,
        whole: bool = False,
    ) -> dict[str, Any]:
        """Scores of `variables` on `split`; see `metrics.scores` for the keys.

        `images`, if given, takes what is counted of each image. With `whole`, which all
        processes of the group have to agree in, the first reads all images, for
        `on_image`.
        """
        data, classes = self._config.data, self._spec.num_classes
        confusion = np.zeros((classes, classes), np.int64)
        boundary = np.zeros((classes, 2), np.int64)
        part = part_of(self._group, self._mesh.size, whole)
        batches = pipeline.eval_batches(data, split, self._multiple, part.rows)
        predict = self._predict or functools.partial(
            self._step_ahead, variables, part.of
        )
        with counting(f"{self._spec.name}/{split}", self._spec.splits[split]) as done:
            for batch, outputs in predict(map(self._labelled, batches)):
                if before_batch is not None:
                    before_batch()
                predictions, counted, sure = outputs
                confusion += counted
                first = part.first(len(batch["image"]))
                for i, name in enumerate(batch["name"] if part.counts else ()):
                    height, width = batch["size"][i]
                    label = batch["label"][i, :height, :width]
                    prediction = predictions[first + i, :height, :width]
                    bands = metrics.boundary_counts(
                        label, prediction, classes, self._config.eval.boundary
                    )
                    boundary += bands
                    if images is not None:
                        images.take(name, label, prediction, bands)
                    if on_image is not None:
                        image = pipeline.denormalize(
                            batch["image"][i, :height, :width], data.mean, data.std
                        )
                        confidence = sure[first + i, :height, :width]
                        on_image(image, label, prediction, name, confidence)
                done(len(batch["name"]))
        boundary = np.sum(self._group.gather(boundary.tolist()), axis=0)
        return metrics.scores(confusion) | metrics.boundary_scores(boundary)

    def _step_ahead(
        self, variables: Mapping, part: Any, batches: Iterable[Batch]
    ) -> Any:
        return run_ahead(self._step, variables, batches, self._mesh, part)

    def _labelled(self, batch: dict[str, Any]) -> dict[str, Any]:
        """The batch with the class indices of the network."""
        if self._labels is None:
            return batch
        return batch | {"label": self._labels[batch["label"]]}
