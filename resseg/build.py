"""From a config to model, loss and optimizer."""

import operator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from resseg import coefficients, losses, optim
from resseg.backbone import spell_out
from resseg.data import sources
from resseg.data.counts import median_frequency_weights
from resseg.fields import COEFFICIENTS, flatten
from resseg.gradients.fork import initial_paths
from resseg.models.segmenter import Segmenter
from resseg.network import build_segmenter


def build_model(config: Any, num_classes: int | None = None) -> Segmenter:
    """The network of a config: `module.apply(variables, images)["logits"]` is float32
    `[batch, height, width, classes]` at the size of the images.

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


def path_schedules(config: Any, num_classes: int) -> dict[str, Any]:
    """For `TrainState.schedules`: the lines that the coefficients follow; {} = none."""
    flat = flatten(config)
    if not any(coefficients.is_scheduled(flat[key]) for key in COEFFICIENTS):
        return {}

    def of(field: str) -> Any:
        model = build_segmenter(config.model, num_classes, operator.attrgetter(field))
        return initial_paths(model, (1, *config.data.crop, 3))

    fields = map(of, coefficients.Schedule._fields)
    return jax.tree.map(lambda *numbers: np.stack(numbers), *fields)


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


def build_optimizer(
    config: Any,
) -> tuple[optax.GradientTransformation, optax.Schedule]:
    """The optimizer of `config.optim` over `config.train.steps`, and its schedule."""
    settings = config.optim
    schedule = optim.make_schedule(
        settings.schedule,
        settings.learning_rate,
        config.train.steps,
        settings.warmup_steps,
        settings.poly_power,
        settings.end_factor,
    )
    optimizer = optim.make_optimizer(
        settings.name,
        schedule,
        momentum=settings.momentum,
        b1=settings.b1,
        b2=settings.b2,
        weight_decay=settings.weight_decay,
        backbone_factor=settings.backbone_factor,
        clip_norm=settings.clip_norm,
    )
    return optimizer, schedule


def padding_multiple(config: Any) -> int:
    """Evaluated images are padded to a multiple of the stride without dilation."""
    return spell_out(config.model).native_stride
