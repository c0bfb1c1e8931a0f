"""Loss and scores of variants of one network, on the evaluation split."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import numpy as np

from resseg.architecture import padding_multiple
from resseg.data import pipeline
from resseg.inference import metrics
from resseg.probes.subject import Subject
from resseg.runs.tables import Column

MEAN = "(mean)"

# What `score_records` gives; tables of variants end with these.
SCORE_COLUMNS = (
    Column("class", "str", "", "name of the class; (mean) over classes"),
    Column("iou", "float64", "1", "IoU over the split; NaN if the class is nowhere"),
    Column("iou_change", "float64", "1", "iou - that of the network as it is"),
    Column("loss", "float64", "loss", "mean over the labelled pixels of the split"),
    Column("loss_change", "float64", "loss", "loss - that of the network as it is"),
)


class Score(NamedTuple):
    """Of one variant.

    Attributes:
        loss: that of training, without the auxiliary head.
        mean_iou: over classes that occur in truth or prediction.
        iou: `[classes]`, NaN where a class does not occur.
    """

    loss: float
    mean_iou: float
    iou: np.ndarray


class Scorer:
    """Scores variables on the evaluation split; compiles once for all variants.

    The same exact pass as `resseg evaluate` makes: every image once, at its own size,
    one confusion matrix, but without boundary bands, which would take most of the time.

    Args:
        images: to score, at least: whole batches from the front; 0 = the whole split.
    """

    def __init__(self, subject: Subject, images: int = 0):
        self._subject, self._images = subject, images
        model, classes = subject.model, subject.spec.num_classes

        @jax.jit
        def step(variables, image, label):
            outputs: Any = model.apply(variables, image, train=False)
            value, parts = subject.loss(outputs["logits"], label)
            pixels = parts["loss_pixels"]
            predictions = outputs["logits"].argmax(-1)
            confusion = metrics.confusion_matrix(label, predictions, classes)
            return value, pixels, confusion

        self._step = step

    def __call__(self, variables: dict[str, Any]) -> Score:
        """The scores of `variables`."""
        total, pixels, confusion = 0.0, 0, 0
        for batch in self._batches():
            value, count, counted = jax.device_get(
                self._step(variables, batch["image"], batch["label"])
            )
            if count:
                total += float(value) * int(count)
                pixels += int(count)
                confusion += np.asarray(counted, np.int64)
        scores = metrics.scores(np.asarray(confusion))
        return Score(
            total / pixels, float(scores["mean_iou"]), np.asarray(scores["iou"])
        )

    def _batches(self) -> Iterator[dict]:
        config = self._subject.config
        seen = 0
        for batch in pipeline.eval_batches(
            config.data, config.data.eval_split, padding_multiple(config.model)
        ):
            yield batch
            seen += len(batch["name"])
            if self._images and seen >= self._images:
                return


def score_records(score: Score, intact: Score, classes: tuple[str, ...]) -> list[dict]:
    """One record of `SCORE_COLUMNS` for the mean, and one per class."""
    rows = [(MEAN, score.mean_iou, intact.mean_iou)]
    rows += zip(classes, score.iou, intact.iou, strict=True)
    return [
        {
            "class": name,
            "iou": iou,
            "iou_change": iou - before,
            "loss": score.loss,
            "loss_change": score.loss - intact.loss,
        }
        for name, iou, before in rows
    ]
