"""Damaged checkpoints: found before orbax reads them, and named in one line."""

import contextlib
import functools
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import tensorstore

from resseg.errors import UserError


@contextlib.contextmanager
def damage_named(saved: Path, remedy: str) -> Iterator[None]:
    """What reading a damaged checkpoint raises, as one line that names it."""
    hook = sys.unraisablehook
    sys.unraisablehook = functools.partial(_report_unraisable, hook)
    try:
        yield
    except (ValueError, OSError, KeyError) as error:
        # The hook stays: arrays that are whole but of another content fail later.
        reason = textwrap.shorten(str(error), 100)
        raise UserError(f"{saved}: damaged checkpoint ({reason}); {remedy}") from error
    sys.unraisablehook = hook


def read_through(item: Path) -> None:
    """Reads all that is stored of an item, one value after the other.

    Orbax reads all arrays at the same time and leaves the others under way when one
    fails: what these raise later, in threads of their own, nobody can catch. So files
    that are cut or missing are found here first.

    Raises:
        ValueError: a value cannot be read, or there is none.
    """
    files = {"driver": "file", "path": f"{item.absolute()}/"}
    spec = {"driver": "ocdbt", "base": files}
    store = tensorstore.KvStore.open(spec).result()
    keys = store.list().result()
    if not keys:
        raise ValueError(f"{item.name}: no arrays")
    for key in keys:
        store.read(key).result()


def _report_unraisable(hook: Callable, unraisable: Any) -> None:
    """As `hook`, but for reads whose event loop ended with the first that failed."""
    if "Event loop is closed" not in str(unraisable.exc_value):
        hook(unraisable)
