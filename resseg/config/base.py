"""Every key that an experiment may set, at its default.

An experiment file imports this one, changes what differs and returns it. The keys, with
meaning and unit, are the rows of `resseg.config.rows`; nothing else holds a default.
"""

from typing import Any

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder

from resseg.config.key import Key
from resseg.config.rows import KEYS


def get_config() -> ConfigDict:
    """A new config with every key at its default, open to changes.

    A key that is unset takes a value of its type, and one that is spelt wrongly raises.
    """
    config = ConfigDict()
    # ml_collections holds a key to the type of its default, or a section to none.
    mixed = {row.section for row in KEYS.values() if row.value.kind.mixed}
    for row in KEYS.values():
        *sections, leaf = row.name.split(".")
        inner: Any = config
        for depth, name in enumerate(sections, 1):
            if name not in inner:
                type_safe = ".".join(sections[:depth]) not in mixed
                inner[name] = ConfigDict(type_safe=type_safe)
            inner = inner[name]
        inner[leaf] = _default(row)
    return config


def _default(row: Key) -> Any:
    return placeholder(float) if row.value.default is None else row.value.default
