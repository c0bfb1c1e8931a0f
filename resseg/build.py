"""From a config to model, loss and optimizer."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from resseg import losses, optim
from resseg.architecture import spell_out
from resseg.config import coefficients
from resseg.data import sources
from resseg.data.counts import median_frequency_weights
from resseg.gradients.fork import initial_paths
from resseg.models.segmenter import Segmenter
from resseg.network import build_segmenter
from resseg.steps import Numbers, OptimizerOf

_NUMBERS = (
    "learning_rate",
    "warmup_steps",
    "poly_power",
    "end_factor",
    "momentum",
    "b1",
    "b2",
    "weight_decay",
    "backbone_factor",
    "ema",
)


def build_model(config: Any, num_classes: int | None = None) -> Segmenter:
    """The network of a config: `module.apply(variables, images)["logits"]` is float32
    `[batch, height, width, classes]` at the size of the images.

    `variables` are params and batch_stats; with paths too, its coefficients are those
    and not the ones of the config.

    Args:
        config: as `load_config` returns it.
        num_classes: void not counted; None = ask the data set that the config names.

    Raises:
        UserError: that data set is not prepared.
    """
    if num_classes is None:
        num_classes = sources.dataset_spec(config.data).num_classes
    return build_segmenter(config.model, num_classes)


def variable_shapes(config: Any, num_classes: int) -> dict[str, Any]:
    """Shapes and dtypes of every collection of the network; computes nothing."""
    model = build_model(config, num_classes)
    images = jax.ShapeDtypeStruct((1, *config.data.crop, 3), jnp.float32)
    return jax.eval_shape(model.init, jax.random.key(0), images)


class PathLines:
    """The coefficients of every config of one structure, traced once.

    The network is traced with numbers in the place of coefficients, so that each leaf
    of the `paths` collection says which of them it holds.
    """

    def __init__(self, config: Any, num_classes: int):
        self._num_classes = num_classes
        model, _ = self._numbered(config)
        self._places = initial_paths(model, (1, *config.data.crop, 3))

    def __call__(self, config: Any) -> dict[str, Any]:
        """For `TrainState.schedules`: float32 `[4]` per leaf."""
        _, schedules = self._numbered(config)
        return jax.tree.map(
            lambda place: np.asarray(schedules[int(place)], np.float32), self._places
        )

    def start(self, config: Any) -> dict[str, Any]:
        """The `paths` collection at step 0."""
        _, schedules = self._numbered(config)
        return jax.tree.map(
            lambda place: np.float32(schedules[int(place)].at(0)), self._places
        )

    def _numbered(self, config: Any) -> tuple[Segmenter, list[coefficients.Schedule]]:
        met: list[coefficients.Schedule] = []

        def pick(schedule: coefficients.Schedule) -> float:
            met.append(schedule)
            return float(len(met) - 1)

        return build_segmenter(config.model, self._num_classes, pick), met


def build_loss(config: Any, num_classes: int) -> Any:
    """The weighted sum of losses of `config.loss`; its weights may need the data."""
    weights = config.loss.class_weights
    if weights == "median_frequency":
        counted = sources.count_split(config.data, config.data.split)
        weights = median_frequency_weights(counted.pixels)
    terms = {name: value for name, value in config.loss.terms.items() if value}
    return losses.make_loss(
        terms,
        num_classes=num_classes,
        class_weights=np.asarray(weights, np.float32) if len(weights) else None,
        label_smoothing=config.loss.label_smoothing,
        focal_gamma=config.loss.focal_gamma,
    )


def numbers(config: Any) -> Numbers:
    """For `TrainState.numbers`: what the train step of a config computes with."""
    settings = config.optim
    values = {key: settings[key] for key in _NUMBERS}
    if settings.clip_norm is not None:
        values["clip_norm"] = settings.clip_norm
    scalars = {key: np.float32(value) for key, value in values.items()}
    return scalars | {
        "schedule": np.int32(optim.SCHEDULES.index(settings.schedule)),
        "steps": np.float32(config.train.steps),
        "aux_weight": np.float32(config.model.aux.weight),
    }


def optimizer_of(config: Any) -> OptimizerOf:
    """The optimizer of `config.optim` and its schedule, as functions of the numbers."""
    name = config.optim.name

    def build(
        values: Numbers,
    ) -> tuple[optax.GradientTransformation, optax.Schedule]:
        schedule = optim.make_schedule(
            values["schedule"],
            values["learning_rate"],
            values["steps"],
            values["warmup_steps"],
            values["poly_power"],
            values["end_factor"],
        )
        optimizer = optim.make_optimizer(
            name,
            schedule,
            momentum=values["momentum"],
            b1=values["b1"],
            b2=values["b2"],
            weight_decay=values["weight_decay"],
            backbone_factor=values["backbone_factor"],
            clip_norm=values.get("clip_norm"),
        )
        return optimizer, schedule

    return build


def build_optimizer(
    config: Any,
) -> tuple[optax.GradientTransformation, optax.Schedule]:
    """The optimizer of `config.optim` over `config.train.steps`, and its schedule."""
    return optimizer_of(config)(numbers(config))


def padding_multiple(config: Any) -> int:
    """Evaluated images are padded to a multiple of the stride without dilation."""
    return spell_out(config.model).native_stride
