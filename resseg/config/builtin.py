"""The experiments that come with resseg, by names that work from any folder.

`quickstart` and `nuclei/unet` are `quickstart.py` and `nuclei/unet.py` in `configs/`,
which stands beside the package in a checkout and inside it once installed.
"""

import ast
import runpy
from pathlib import Path

from ml_collections import ConfigDict

_PACKAGE = Path(__file__).resolve().parents[1]
_INSTALLED, _CHECKOUT = _PACKAGE / "configs", _PACKAGE.parent / "configs"
FOLDER = _INSTALLED if _INSTALLED.is_dir() else _CHECKOUT
BASE = "base"  # every key at its default


def names() -> tuple[str, ...]:
    """What `--config` takes besides files and folders."""
    files = (path.relative_to(FOLDER) for path in FOLDER.rglob("*.py"))
    names = (file.with_suffix("").as_posix() for file in files if file.stem[0] != "_")
    return (BASE, *sorted(names))


def file_of(name: str) -> Path:
    """The file of one of `names()`."""
    if name == BASE:
        return Path(__file__).with_name("base.py")
    return FOLDER / f"{name}.py"


def summary(name: str) -> str:
    """The first line of what the file of one of `names()` says of itself."""
    text = ast.get_docstring(ast.parse(file_of(name).read_text(encoding="utf-8")))
    return (text or "").partition("\n")[0]


def get_config(name: str) -> ConfigDict:
    """What the experiment `name` sets, for one that differs from it in a few keys."""
    return runpy.run_path(str(file_of(name)))["get_config"]()
