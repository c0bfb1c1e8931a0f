"""What of a config shapes the compiled program, and what is a number handed to it.

Runs of equal structure share one compiled train step, whatever their numbers are. A key
that is not named here is structure, so a new one is safe until someone looks at it.
"""

import json
from collections.abc import Sequence
from typing import Any

from resseg.config import coefficients
from resseg.config.keys import COEFFICIENTS, flatten
from resseg.errors import UserError

# Arguments of the program.
NUMBERS = (
    *COEFFICIENTS,
    "seed",
    "model.aux.weight",
    "optim.learning_rate",
    "optim.schedule",
    "optim.warmup_steps",
    "optim.poly_power",
    "optim.end_factor",
    "optim.momentum",
    "optim.b1",
    "optim.b2",
    "optim.weight_decay",
    "optim.backbone_factor",
    "optim.clip_norm",
    "optim.ema",
    "train.steps",
)
# What the program never sees: how images are drawn and augmented, what is written when.
OUTSIDE = (
    "checkpoint.",
    "data.color",
    "data.dir",
    "data.eval_batch_size",
    "data.eval_split",
    "data.flip",
    "data.mean",
    "data.rare_classes",
    "data.rare_crop",
    "data.rotate",
    "data.scale",
    "data.std",
    "data.threads",
    "data.vertical_flip",
    "data.workers",
    "eval.",
    "init.",
    "log.",
)

# Numbers of the loop: runs that step together take the same step, and stop at the same.
LOCK_STEP = (
    "checkpoint.every",
    "checkpoint.keep_every",
    "eval.every",
    "log.every",
    "log.gradients.every",
    "train.steps",
)


def structure(config: Any) -> dict[str, Any]:
    """The keys that shape the train step, with their values.

    A number that switches a part of the program on or off stands there as true or
    false.
    """
    flat = flatten(config)
    kept = {
        key: value
        for key, value in flat.items()
        if key not in NUMBERS and not key.startswith(OUTSIDE)
    }
    detach = flat["model.gradient.detach_rate"]
    return kept | {
        "log.gradients.every": flat["log.gradients.every"] > 0,
        "model.aux.weight": flat["model.aux.weight"] > 0,
        "model.gradient.detach_rate": not coefficients.is_neutral(detach, 0.0),
        "optim.clip_norm": flat["optim.clip_norm"] is not None,
        "optim.ema": flat["optim.ema"] > 0,
    }


def structure_key(config: Any) -> str:
    """Equal for configs of equal structure."""
    return _text(structure(config))


def check_together(configs: Sequence[Any]) -> None:
    """Whether runs of these configs can step together.

    Raises:
        UserError: they cannot; names the first key in which two of them differ that
            have to agree in it, and both values.
    """
    first, *others = map(_to_agree_in, configs)
    for number, other in enumerate(others, 2):
        for key in sorted(first):
            if first[key] != other[key]:
                here, there = (flatten(configs[n])[key] for n in (0, number - 1))
                why = "they step together"
                if key not in LOCK_STEP:
                    why = "it shapes the program that they share"
                raise UserError(
                    f"--vectorize: config.{key} is {here!r} in the first of the runs "
                    f"and {there!r} in number {number}; expected one value, as {why}"
                )


def _to_agree_in(config: Any) -> dict[str, Any]:
    flat = flatten(config)
    return structure(config) | {key: flat[key] for key in LOCK_STEP}


def start_key(config: Any) -> str:
    """Equal for configs whose learned numbers start from the same values.

    Those are constants of the program that draws the weights, and of that one alone.
    """
    model, starts = config.model, {}
    if model.shortcut.kind.startswith("gate"):
        starts["gate_bias"] = model.shortcut.gate_bias
    if model.shortcut.kind.startswith("learned"):
        starts["shortcut"] = model.shortcut.scale
    if model.branch.learn != "no":
        starts["branch"] = model.branch.scale
    return _text(starts)


def _text(values: dict[str, Any]) -> str:
    return json.dumps(values, sort_keys=True, default=list)
