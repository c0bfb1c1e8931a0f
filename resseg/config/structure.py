"""What of a config shapes the compiled program, and what is a number handed to it.

Runs of equal structure share one compiled train step, whatever their numbers are. The
row of each key in `resseg.config.rows` says what it is to the program.
"""

import json
from collections.abc import Sequence
from typing import Any

from resseg.config import coefficients
from resseg.config.key import ProgramRole
from resseg.config.keys import flatten
from resseg.config.rows import KEYS
from resseg.errors import UserError

FLOAT16 = "float16"  # the type of `model.dtype` whose loss is scaled
# Values of keys that the host alone tells apart from another, by which they count.
_ALIKE = {"train.on_nonfinite": {"rollback": "stop"}}


def structure(config: Any) -> dict[str, Any]:
    """The keys that shape the train step, with their values.

    A number that switches a part of the program on or off stands there as true or
    false.
    """
    flat = flatten(config)
    kept = {}
    for key, row in KEYS.items():
        if row.program is ProgramRole.SHAPES:
            kept[key] = _ALIKE.get(key, {}).get(flat[key], flat[key])
        elif row.program in (ProgramRole.SWITCH, ProgramRole.LOOP_SWITCH):
            kept[key] = _is_on(flat[key])
    return kept


def _is_on(value: Any) -> bool:
    return value is not None and not coefficients.is_neutral(value, 0.0)


def finds_loss_scale(config: Any) -> bool:
    """Whether the train step looks for its loss scale."""
    return config.model.dtype == FLOAT16 and not config.optim.loss_scale


def structure_key(config: Any) -> str:
    """Equal for configs of equal structure."""
    return _text(structure(config))


def check_together(configs: Sequence[Any]) -> None:
    """Whether runs of these configs can step together.

    Raises:
        UserError: they cannot; names the first key in which two of them differ that
            have to agree in it, and both values.
    """
    for config in configs:
        if finds_loss_scale(config):
            raise UserError(
                "--vectorize: config.optim.loss_scale=0.0 with config.model.dtype="
                "'float16': runs that look for their loss scale do not stay in step; "
                "expected a fixed one, as 1024"
            )
        mode = config.train.on_nonfinite
        if mode != "stop":
            raise UserError(
                f"--vectorize: config.train.on_nonfinite={mode!r}: runs "
                "that drop batches do not stay in step; expected 'stop'"
            )
        space = config.mesh.space
        if space != 1:
            raise UserError(
                f"--vectorize: config.mesh.space={space}: runs that step together have "
                "whole images on each device; expected 1"
            )
    first, *others = map(_to_agree_in, configs)
    for number, other in enumerate(others, 2):
        for key in sorted(first):
            if first[key] != other[key]:
                here, there = (flatten(configs[n])[key] for n in (0, number - 1))
                why = "they step together"
                if not _in_step(key):
                    why = "it shapes the program that they share"
                raise UserError(
                    f"--vectorize: config.{key} is {here!r} in the first of the runs "
                    f"and {there!r} in number {number}; expected one value, as {why}"
                )


def _in_step(key: str) -> bool:
    """Runs that step together take the same step, and stop at the same."""
    return KEYS[key].program in (ProgramRole.LOOP, ProgramRole.LOOP_SWITCH)


def _to_agree_in(config: Any) -> dict[str, Any]:
    flat = flatten(config)
    return structure(config) | {key: flat[key] for key in KEYS if _in_step(key)}


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
    if model.long_skip.learn != "no":
        starts["long_skip"] = model.long_skip.scale
    return _text(starts)


def _text(values: dict[str, Any]) -> str:
    return json.dumps(values, sort_keys=True, default=list)
