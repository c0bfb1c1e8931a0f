"""Residual networks in image segmentation, the gradient of every shortcut measured.

The names below are loaded when they are first used, so that `import resseg` and
`resseg --help` never wait for JAX.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from resseg.build import build_model
    from resseg.config.load import load_config
    from resseg.runs import open_run

__version__ = "0.1.0"
__all__ = ["__version__", "build_model", "load_config", "open_run"]

_HOMES = {
    "build_model": "resseg.build",
    "load_config": "resseg.config.load",
    "open_run": "resseg.runs",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'resseg' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
