"""Fits a temperature to a run on a split, and scores probabilities before and after."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from resseg.architecture import padding_multiple
from resseg.console import counting
from resseg.data import DatasetSpec, pipeline
from resseg.errors import UserError
from resseg.inference import temperature
from resseg.inference.calibration import Calibration
from resseg.inference.evaluator import run_ahead, softmax
from resseg.inference.probability_counts import boundary_bands, count
from resseg.inference.trained import Trained


class Fitted(NamedTuple):
    """What came out.

    Attributes:
        temperature: by which logits are to be divided.
        before: what probabilities are at 1.
        after: what they are at that temperature.
    """

    temperature: float
    before: Calibration
    after: Calibration


def fit(
    trained: Trained,
    config: Any,
    spec: DatasetSpec,
    split: str,
    mesh: Mesh,
    labels: np.ndarray | None = None,
) -> Fitted:
    """The temperature of least NLL on a split, in three passes over its images.

    Args:
        trained: the network; its own temperature does not matter.
        config: of the run; `config.data` may name another data set.
        spec: of the data set.
        split: of it.
        mesh: whole images are split over all its devices.
        labels: see `classes.match_labels`; None = those of the network.

    Raises:
        UserError: the split has no pixel that counts; see `temperature.solve`.
    """
    variables = jax.device_put(trained.variables)

    def batches() -> Iterator[dict[str, Any]]:
        multiple = padding_multiple(config.model)
        with counting(f"{spec.name}/{split}", spec.splits[split]) as done:
            for batch in pipeline.eval_batches(config.data, split, multiple):
                if labels is not None:
                    batch = batch | {"label": labels[batch["label"]]}
                yield batch
                done(len(batch["name"]))

    step = temperature.compile_sums(trained.model, mesh)

    def sums(points: np.ndarray) -> np.ndarray:
        given = variables, jnp.asarray(points, jnp.float32)
        total = np.zeros((len(points), 3))
        for _, rows in run_ahead(step, given, batches(), mesh):
            total += np.asarray(rows, np.float64).sum((1, 2))
        if not total[:, 0].any():
            raise UserError(
                f"{spec.name}/{split}: every pixel is void or there is none"
            )
        return total

    # The points are float32 on the device.
    fitted = temperature.solve(lambda points: sums(points.astype(np.float32)))
    counts = _counts(trained, spec, mesh, config.eval.boundary, (1.0, fitted))
    return Fitted(fitted, *counts(variables, batches()))


def _counts(
    trained: Trained,
    spec: DatasetSpec,
    mesh: Mesh,
    fraction: float,
    temperatures: tuple[float, ...],
) -> Callable[..., list[Calibration]]:
    """Counts the probabilities of batches at several temperatures."""
    step = temperature.compile_logits(trained.model, mesh)

    @jax.jit
    def counted(logits: jax.Array, labels: jax.Array, band: jax.Array) -> Any:
        masks = logits.argmax(-1)
        return [
            count(softmax(logits, each), masks, labels, band) for each in temperatures
        ]

    def run(variables: Any, batches: Iterator[Any]) -> list[Calibration]:
        calibrations = [Calibration(spec.num_classes) for _ in temperatures]
        for batch, logits in run_ahead(step, variables, batches, mesh):
            images = len(batch["size"])
            band = boundary_bands(batch, fraction)
            results = counted(logits[:images], batch["label"][:images], band)
            found = jax.device_get(results)
            for calibration, counts in zip(calibrations, found, strict=True):
                calibration.add_batch({**batch, "band": band}, counts)
        return calibrations

    return run
