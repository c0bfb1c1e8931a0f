"""What makes a config runnable: choices, ranges, lengths, combinations.

Three tables here and the rules of `combinations`, applied by `validate` before any
device is touched. The names that a choice field may hold are owned here; the builders
of models, losses and optimizers offer the same.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from resseg.architecture import (
    BRANCH_INITS,
    DEPTHS,
    DILATIONS,
    EXPANSION,
    LEARN,
    ORDERS,
    SHORTCUT_KINDS,
    STEM_STRIDES,
    STRIDE_ON,
    TRANSITIONS,
    VARIANTS,
)
from resseg.config.fields import check_keys, normalise
from resseg.config.keys import flatten
from resseg.config.rules import RULES
from resseg.errors import UserError, choose

CHOICES = {
    "model.dtype": ("float32", "bfloat16"),
    "model.norm": ("batch", "group", "none"),
    "model.backbone.depth": tuple(DEPTHS),
    "model.backbone.variant": tuple(VARIANTS),
    "model.backbone.block": ("", *EXPANSION),
    "model.backbone.order": ("", *ORDERS),
    "model.backbone.stem": ("", *STEM_STRIDES),
    "model.backbone.stride_on": ("", *STRIDE_ON),
    "model.backbone.dilation": DILATIONS,
    "model.shortcut.kind": SHORTCUT_KINDS,
    "model.shortcut.transition": ("", *TRANSITIONS),
    "model.branch.learn": LEARN,
    "model.branch.init": BRANCH_INITS,
    "model.gradient.normalize": ("no", "block"),
    "model.head.name": (
        "fcn",
        "fcn32s",
        "fcn16s",
        "fcn8s",
        "unet",
        "resunet",
        "deeplabv3",
        "deeplabv3plus",
    ),
    "model.long_skip.kind": ("native", "concat", "add", "gate", "none"),
    "optim.name": ("sgd", "adamw"),
    "optim.schedule": ("constant", "poly", "cosine"),
}


@dataclass(frozen=True)
class Range:
    """A condition on each number of a field, and its words."""

    words: str
    holds: Callable[[float], bool]


POSITIVE = Range("above 0", lambda x: x > 0)
NOT_NEGATIVE = Range("0 or above", lambda x: x >= 0)
SHARE = Range("between 0 and 1", lambda x: 0 <= x <= 1)
BELOW_ONE = Range("0 or above, below 1", lambda x: 0 <= x < 1)
SEED = Range("0 or above, below 2**32", lambda x: 0 <= x < 2**32)

RANGES = {
    "seed": SEED,
    "data.batch_size": POSITIVE,
    "data.eval_batch_size": POSITIVE,
    "data.threads": NOT_NEGATIVE,
    "data.workers": NOT_NEGATIVE,
    "data.crop": POSITIVE,
    "data.scale": POSITIVE,
    "data.flip": SHARE,
    "data.vertical_flip": SHARE,
    "data.rotate": Range("between 0 and 180 degrees", lambda x: 0 <= x <= 180),
    "data.color": SHARE,
    "data.rare_crop": SHARE,
    "data.rare_classes": NOT_NEGATIVE,
    "data.mean": SHARE,
    "data.std": POSITIVE,
    "data.shapes.train_images": POSITIVE,
    "data.shapes.val_images": POSITIVE,
    "data.shapes.size": POSITIVE,
    "data.shapes.objects": POSITIVE,
    "data.shapes.difficulty": SHARE,
    "data.shapes.seed": SEED,
    "model.backbone.stage_sizes": POSITIVE,
    "model.backbone.width": NOT_NEGATIVE,
    "model.backbone.multi_grid": POSITIVE,
    "model.backbone.groups": POSITIVE,
    "model.backbone.group_width": POSITIVE,
    "model.backbone.width_factor": POSITIVE,
    "model.backbone.se_reduction": NOT_NEGATIVE,
    "model.backbone.stage_strides": Range("1 or 2", lambda x: x in (1, 2)),
    "model.backbone.output_stride": NOT_NEGATIVE,
    "model.backbone.dropout": BELOW_ONE,
    "model.backbone.stochastic_depth": BELOW_ONE,
    "model.shortcut.span": NOT_NEGATIVE,
    "model.head.channels": POSITIVE,
    "model.head.width": NOT_NEGATIVE,
    "model.head.rates": POSITIVE,
    "model.head.convs": NOT_NEGATIVE,
    "model.head.dropout": BELOW_ONE,
    "model.aux.weight": NOT_NEGATIVE,
    "loss.terms.cross_entropy": NOT_NEGATIVE,
    "loss.terms.dice": NOT_NEGATIVE,
    "loss.terms.focal": NOT_NEGATIVE,
    "loss.class_weights": NOT_NEGATIVE,
    "loss.label_smoothing": BELOW_ONE,
    "loss.focal_gamma": NOT_NEGATIVE,
    "optim.learning_rate": POSITIVE,
    "optim.warmup_steps": NOT_NEGATIVE,
    "optim.poly_power": POSITIVE,
    "optim.end_factor": SHARE,
    "optim.momentum": BELOW_ONE,
    "optim.b1": BELOW_ONE,
    "optim.b2": BELOW_ONE,
    "optim.weight_decay": NOT_NEGATIVE,
    "optim.backbone_factor": NOT_NEGATIVE,
    "optim.clip_norm": POSITIVE,
    "optim.ema": BELOW_ONE,
    "train.steps": POSITIVE,
    "eval.every": NOT_NEGATIVE,
    "eval.boundary": Range("above 0, below 1", lambda x: 0 < x < 1),
    "eval.predictions": NOT_NEGATIVE,
    "checkpoint.every": POSITIVE,
    "checkpoint.keep_every": NOT_NEGATIVE,
    "log.every": POSITIVE,
    "log.gradients.every": NOT_NEGATIVE,
    "mesh.data": NOT_NEGATIVE,
}

LENGTHS = {
    "data.crop": (2,),
    "data.scale": (2,),
    "data.mean": (3,),
    "data.std": (3,),
    "data.shapes.size": (2,),
    "model.head.rates": (0, 3),
    "model.head.convs": (2,),
}


def validate(config: Any) -> None:
    """Raises UserError, one line, for the first thing that makes `config` unusable."""
    flat = flatten(config)
    check_keys(flat)
    flat = {key: normalise(key, value) for key, value in flat.items()}
    for key, options in CHOICES.items():
        choose(f"config.{key}", flat[key], options)
    for key, allowed in RANGES.items():
        if not all(map(allowed.holds, _numbers(flat[key]))):
            raise UserError(f"config.{key}={flat[key]!r}: expected {allowed.words}")
    for key, lengths in LENGTHS.items():
        if len(flat[key]) not in lengths:
            wanted = " or ".join(map(str, lengths))
            raise UserError(
                f"config.{key}={flat[key]!r}: expected {wanted} numbers, "
                f"got {len(flat[key])}"
            )
    for rule in RULES:
        rule(config)


def check_against_data(config: Any, num_classes: int) -> None:
    """Raises UserError where a config names classes that its data set does not have."""
    weights = config.loss.class_weights
    if not isinstance(weights, str) and len(weights) not in (0, num_classes):
        raise UserError(
            f"config.loss.class_weights={weights!r}: {config.data.name} has "
            f"{num_classes} classes, got {len(weights)} weights"
        )
    for index in config.data.rare_classes:
        if index >= num_classes:
            raise UserError(
                f"config.data.rare_classes={config.data.rare_classes!r}: "
                f"{config.data.name} has classes 0 to {num_classes - 1}, not {index}"
            )


def _numbers(value: Any) -> Iterable[float]:
    if isinstance(value, tuple):
        return value
    return () if value is None or isinstance(value, str) else (value,)
