"""What a probe looks at: a network, its variables, its loss and its data."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from resseg import sharding
from resseg.blueprint.blueprint import Blueprint
from resseg.config.coefficients import is_neutral
from resseg.config.structure import FLOAT16
from resseg.data import DatasetSpec, pipeline, sources
from resseg.gradients.fork import ForkInfo
from resseg.inference.classes import check_labels
from resseg.inference.trained import load_trained
from resseg.models.network import SegmentationNetwork
from resseg.runs import open_run
from resseg.training import recipe
from resseg.training.objective import total_loss

HostBatch = Mapping[str, np.ndarray]

# The coefficients that belong to one kind of fork; the others are of blocks.
_OF_KIND = {"long_skip": "long_skip", "pyramid": "pyramid", "aux": "auxiliary"}


@dataclasses.dataclass(frozen=True)
class Subject:
    """A network that can be asked, with everything a probe may need.

    Attributes:
        name: of the run or config, for titles.
        config: validated.
        spec: of the data.
        blueprint: of the network.
        variables: params, batch_stats and paths.
        loss: `(logits, labels) -> (value, terms)`, as in training.
        step: of the checkpoint; 0 at initialisation.
    """

    name: str
    config: Any
    spec: DatasetSpec
    blueprint: Blueprint
    variables: dict[str, Any]
    loss: Callable[[jax.Array, jax.Array], tuple[jax.Array, dict[str, jax.Array]]]
    step: int

    @property
    def image_shape(self) -> tuple[int, int, int, int]:
        """`[batch, height, width, 3]` of a training batch."""
        return (self.config.data.batch_size, *self.config.data.crop, 3)

    @property
    def model(self) -> SegmentationNetwork:
        """The network."""
        return self.blueprint.model

    @property
    def forks(self) -> tuple[ForkInfo, ...]:
        """In depth order, with the shapes of a training batch."""
        return self.blueprint.forks(self.config.data.batch_size)

    def batches(self, count: int) -> Iterator[HostBatch]:
        """The first `count` training batches of the run's seed, augmented as there."""
        loader = pipeline.TrainLoader(self.config.data, self.config.seed)
        try:
            for _ in range(count):
                yield next(loader)
        finally:
            loader.close()

    def total_loss(
        self, variables: Mapping[str, Any], batch: HostBatch, *, train: bool
    ) -> jax.Array:
        """The loss of training, auxiliary terms included, of images that are not mixed.

        Dropout draws one mask.

        With `train` norms use the statistics of the batch.
        """
        outputs: Any = self.model.apply(
            variables,
            batch["image"],
            train=train,
            rngs={"dropout": jax.random.key(0)},
            mutable=["batch_stats"] if train else False,
        )
        if train:
            outputs, _ = outputs
        labels = {"label": jnp.asarray(batch["label"])}
        numbers = recipe.numbers(self.config)
        return total_loss(self.loss, outputs, labels, numbers)[0]

    def scaled_backward(self) -> list[str]:
        """Coefficients that scale the gradient and not the value, where not 1.

        With one of them the update field is the gradient of no function, so what needs
        second derivatives must refuse. One for a kind of fork that the network does not
        have scales nothing.
        """
        zero = {"bypass", "detach_rate", "clip_sites"}
        kinds = {fork.kind for fork in self.forks}
        absent = {key for key, kind in _OF_KIND.items() if kind not in kinds}
        scaled = []
        for key, value in sorted(self.config.model.gradient.items()):
            if key in absent:
                continue
            if key in ("normalize", "surgery"):
                neutral = value == "no"
            else:
                neutral = is_neutral(value, 0.0 if key in zero else 1.0)
            if not neutral:
                scaled.append(f"config.model.gradient.{key}={value!r}")
        return scaled


def of_run(path: str | Path, step: int | None = None) -> Subject:
    """A run's checkpoint: `step`, or the best if there is one, else the latest.

    Raises:
        UserError: no run, no such checkpoint, or its data set is not prepared, or has
            other classes now.
    """
    trained = load_trained(open_run(path), step)
    config, blueprint = trained.config, trained.blueprint
    if config.model.dtype == FLOAT16:
        config = _in_float32(config)
        blueprint = Blueprint.of(config, len(trained.classes))
    spec = sources.dataset_spec(config.data)
    check_labels(trained.classes, spec.classes, f"data set {spec.name}")
    return Subject(
        name=str(path),
        config=config,
        spec=spec,
        blueprint=blueprint,
        variables=trained.variables,
        loss=recipe.build_loss(config, spec.num_classes),
        step=trained.step,
    )


def at_init(name: str, config: Any) -> Subject:
    """The network as training would start it, drawn from `config.seed`.

    Raises:
        UserError: the data set is not prepared, or there is no device.
    """
    sharding.devices()
    config = _in_float32(config) if config.model.dtype == FLOAT16 else config
    spec = sources.dataset_spec(config.data)
    blueprint = Blueprint.of(config, spec.num_classes)
    initial = blueprint.draw(jax.random.key(config.seed))
    return Subject(
        name=name,
        config=config,
        spec=spec,
        blueprint=blueprint,
        variables=initial | {"paths": blueprint.paths(config)},
        loss=recipe.build_loss(config, spec.num_classes),
        step=0,
    )


def _in_float32(config: Any) -> Any:
    """A config of float16 for a probe: no loss scale lifts what it looks at."""
    config = config.copy_and_resolve_references()
    config.model.dtype = "float32"
    return config
