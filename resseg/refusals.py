"""How a rule of the config says no."""

from typing import Any, NoReturn

from resseg.errors import UserError
from resseg.fields import flatten


def value_of(config: Any, key: str) -> Any:
    return flatten(config)[key]


def refuse(config: Any, key: str, reason: str) -> NoReturn:
    raise UserError(f"config.{key}={value_of(config, key)!r}: {reason}")
