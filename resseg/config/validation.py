"""What makes a config runnable: the values of its keys, and their combinations.

Rows of `resseg.config.rows` say what each key may hold, `resseg.config.rules` what goes
together; `validate` applies both before any device is touched.
"""

from typing import Any

from resseg.config.fields import check_keys, normalise
from resseg.config.keys import flatten
from resseg.config.rows import KEYS
from resseg.config.rules import RULES
from resseg.errors import UserError


def validate(config: Any) -> None:
    """Raises UserError, one line, for the first thing that makes `config` unusable."""
    flat = flatten(config)
    check_keys(flat)
    flat = {key: normalise(key, value) for key, value in flat.items()}
    for key, row in KEYS.items():
        row.value.check(f"config.{key}", flat[key])
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
