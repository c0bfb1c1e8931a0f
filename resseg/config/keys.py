"""The keys of a config: flat, by name, and how a rule says no to one."""

import json
from collections.abc import Mapping
from typing import Any, NoReturn

from ml_collections import ConfigDict

from resseg.config import base
from resseg.errors import UserError


def value_of(config: Any, key: str) -> Any:
    return flatten(config)[key]


def refuse(config: Any, key: str, reason: str) -> NoReturn:
    raise UserError(f"config.{key}={value_of(config, key)!r}: {reason}")


def base_config() -> ConfigDict:
    """A new copy of `resseg.config.base`: every key with its default."""
    return base.get_config()


def flatten(config: ConfigDict | dict, prefix: str = "") -> dict[str, Any]:
    """The values by dotted key; those of a ConfigDict come sorted."""
    flat: dict[str, Any] = {}
    for name, value in config.items():
        key = f"{prefix}{name}"
        # A coefficient may be given as a dict; it is a value all the same.
        if isinstance(value, ConfigDict | dict) and key not in COEFFICIENTS:
            flat |= flatten(value, f"{key}.")
        else:
            flat[key] = value
    return flat


PER_BLOCK = (
    "model.shortcut.scale",
    "model.shortcut.rate",
    "model.shortcut.gate_bias",
    "model.branch.scale",
    "model.gradient.shortcut",
    "model.gradient.branch_in",
    "model.gradient.branch_out",
    "model.gradient.bypass",
    "model.gradient.detach_rate",
)
PER_LEVEL = ("model.gradient.long_skip", "model.long_skip.scale")
PER_PYRAMID_BRANCH = ("model.gradient.pyramid",)
SINGLE = ("model.gradient.aux",)
COEFFICIENTS = PER_BLOCK + PER_LEVEL + PER_PYRAMID_BRANCH + SINGLE


def plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """A flat config or selector as JSON gives it back: tuples as lists."""
    return json.loads(json.dumps(dict(values), default=list))
