"""The keys of a config: flat, by name, and how a rule says no to one."""

import json
import os
from collections.abc import Mapping
from typing import Any, NoReturn

from ml_collections import ConfigDict

from resseg.config import base
from resseg.config.key import Norms, Resume
from resseg.config.rows import KEYS
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
        if isinstance(value, ConfigDict | dict) and not _is_coefficient(key):
            flat |= flatten(value, f"{key}.")
        else:
            flat[key] = value
    return flat


def _is_coefficient(key: str) -> bool:
    return key in KEYS and bool(KEYS[key].value.one_per)


def free_on_resume() -> frozenset[str]:
    """The keys that may differ where a run goes on."""
    return frozenset(key for key, row in KEYS.items() if row.resume is Resume.FREE)


def whole_path(key: str, value: Any) -> Any:
    """`value` as a run stores it: a folder is named from the root.

    So a run finds its data from wherever it is asked.
    """
    return os.path.abspath(value) if key in _folders() and value else value


def with_whole_paths(config: ConfigDict) -> dict[str, Any]:
    """A config as plain sections, its folders as whole paths."""
    sections = config.to_dict()
    for key in _folders():
        section, name = key.split(".")
        values = sections.get(section, {})  # an older run may lack a key
        if name in values:
            values[name] = whole_path(key, values[name])
    return sections


def without_folders(config: ConfigDict) -> dict[str, Any]:
    """A flat config as others may see it: folders of this machine are the defaults."""
    base = flatten(base_config())
    own = {key: base[key] for key in _folders() if key in base}
    return plain(flatten(config) | own)


def _folders() -> list[str]:
    return [key for key, row in KEYS.items() if row.value.kind.folder]


def later_defaults() -> dict[str, Any]:
    """What runs did that were written before these keys were there."""
    return {key: row.value.default for key, row in KEYS.items() if row.later}


def changing_norms() -> tuple[str, ...]:
    """The keys that decide the size of a gradient besides the network.

    What is differentiated, over how many pixels, and what is done with it before the
    weights see it.
    """
    return tuple(key for key, row in KEYS.items() if row.norms is Norms.CHANGED)


def plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """A flat config or selector as JSON gives it back: tuples as lists."""
    return json.loads(json.dumps(dict(values), default=list))
