"""From a config to the loss, the optimizer and the numbers of a train step."""

from typing import Any

import numpy as np
import optax

from resseg.data import sources
from resseg.data.counts import median_frequency_weights
from resseg.training import losses, optim, scaling
from resseg.training.optim import Numbers, OptimizerOf

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
    "layer_factor",
    "ema",
)
# Of what a program lacks where they are off.
_SWITCHES = ("norm_weight_decay", "bias_weight_decay", "sam_rho", "swa_start")


def build_loss(config: Any, num_classes: int) -> Any:
    """The weighted sum of losses of `config.loss`; its weights may need the data."""
    weights = class_weights(config)
    terms = {name: value for name, value in config.loss.terms.items() if value}
    return losses.make_loss(
        terms,
        num_classes=num_classes,
        class_weights=weights if len(weights) else None,
        settings=losses.Settings(
            **{name: config.loss[name] for name in losses.Settings.names()}
        ),
    )


def class_weights(config: Any) -> np.ndarray:
    """Factors on pixels by class, float32 `[classes]`, or `[0]` where there are none.

    They are constants of the train step, and may follow from the data.
    """
    weights = config.loss.class_weights
    if weights == "median_frequency":
        counted = sources.count_split(config.data, config.data.split)
        weights = median_frequency_weights(counted.pixels)
    return np.asarray(weights, np.float32)


def numbers(config: Any) -> Numbers:
    """For `TrainState.numbers`: what the train step of a config computes with."""
    settings = config.optim
    values = {key: settings[key] for key in _NUMBERS}
    values |= {key: settings[key] for key in _SWITCHES if settings[key]}
    if settings.swa_start:
        values["swa_every"] = settings.swa_every
    if settings.clip_norm is not None:
        values["clip_norm"] = settings.clip_norm
    scalars = {key: np.float32(value) for key, value in values.items()}
    scalars |= {
        **scaling.numbers(config),
        "schedule": np.int32(optim.SCHEDULES.index(settings.schedule)),
        "steps": np.float32(config.train.steps),
        "aux_weight": np.float32(config.model.aux.weight),
    }
    for name, value in (
        ("level_weight", config.model.head.deep_supervision),
        ("mixup", config.data.mixup),
    ):
        if value:
            scalars[name] = np.float32(value)
    return scalars


def averages(config: Any) -> bool:
    """Whether weights are averaged, and the average is evaluated."""
    return config.optim.ema > 0 or config.optim.swa_start > 0


def optimizer_of(config: Any) -> OptimizerOf:
    """The optimizer of `config.optim` and its schedule, as functions of the numbers."""
    name, frozen = config.optim.name, tuple(config.optim.freeze)

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
            norm_decay=values.get("norm_weight_decay"),
            bias_decay=values.get("bias_weight_decay"),
            layer_factor=values["layer_factor"],
            frozen=frozen,
        )
        return optimizer, schedule

    return build


def build_optimizer(
    config: Any,
) -> tuple[optax.GradientTransformation, optax.Schedule]:
    """The optimizer of `config.optim` over `config.train.steps`, and its schedule."""
    return optimizer_of(config)(numbers(config))
