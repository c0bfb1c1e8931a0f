"""Damaged checkpoints: found before orbax reads them, and named in one line.

Damaged is what was read and found wrong. What the system refuses to read, and what is
whole but of another network, is said as what it is.
"""

import contextlib
import functools
import itertools
import logging
import os
import re
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import tensorstore

from resseg.errors import UserError
from resseg.runs import layout
from resseg.runs.places import check_readable
from resseg.runs.unpacking import DESCRIPTION, Arrays
from resseg.text import parse_json

# What orbax and TensorStore raise where a file says something else than they expect.
UNEXPECTED = (
    *(ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError),
    OSError,
)
_REFUSED = re.compile(r"os_error_code='(\d+)'")  # so tensorstore quotes the system


@contextlib.contextmanager
def damage_named(saved: Path, remedy: str) -> Iterator[None]:
    """What reading a checkpoint raises, as one line that names it.

    Args:
        saved: folder of the checkpoint.
        remedy: what to do where its files are damaged.

    Raises:
        DamagedCheckpoint: it cannot be restored.
    """
    hook = sys.unraisablehook
    sys.unraisablehook = functools.partial(_report_unraisable, hook)
    try:
        yield
    except Damaged as error:
        reason = textwrap.shorten(str(error), 100)
        raise DamagedCheckpoint(
            f"{saved}: damaged checkpoint ({reason})", remedy
        ) from error
    except UserError:
        raise
    except UNEXPECTED as error:
        # The hook stays: what orbax has left under way fails later.
        reason = textwrap.shorten(str(error), 200)
        raise DamagedCheckpoint(
            f"{saved}: every file of it can be read, but orbax cannot restore it "
            f"({reason})"
        ) from error
    sys.unraisablehook = hook


@contextlib.contextmanager
def refusals_named(folder: Path) -> Iterator[None]:
    """What the system says no to while a checkpoint is written, as its OSError.

    The libraries below raise other errors of it, and log them first, at length.
    """
    logger = logging.getLogger("absl")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    except ValueError as error:
        if refused := _REFUSED.search(str(error)):
            number = int(refused[1])
            raise OSError(number, os.strerror(number), str(folder)) from error
        raise
    finally:
        logger.setLevel(level)


class Damaged(ValueError):
    """Files of a checkpoint were read and are not what was written."""


class DamagedCheckpoint(UserError):
    """A checkpoint that cannot be restored, though the system lets it be read.

    Attributes:
        what: the checkpoint, and what is wrong with it.
    """

    def __init__(self, what: str, remedy: str = ""):
        super().__init__(f"{what}; {remedy}" if remedy else what)
        self.what = what


def set_aside(saved: Path, folder: Path) -> Path:
    """Moves a checkpoint into `folder`, where it overwrites none; returns its place."""
    folder.mkdir(exist_ok=True)
    places = (folder / f"{saved.name}{suffix}" for suffix in _suffixes())
    place = next(place for place in places if not place.exists())
    os.rename(saved, place)
    return place


def _suffixes() -> Iterator[str]:
    yield ""
    for number in itertools.count(2):
        yield f"-{number}"


def read_through(item: Path, wanted: Any = None) -> None:
    """Reads all that is stored of an item, one value after the other.

    Orbax reads all arrays at the same time and leaves the others under way when one
    fails: what these raise later, in threads of their own, nobody can catch. So files
    that are cut or missing are found here first, and arrays that are not as large as
    they say.

    Args:
        item: its folder.
        wanted: what it is to be restored to, or a part of it; arrays of any size are
            believed where it has them.

    Raises:
        UserError: the system refuses to read a file, or no library can read a folder of
            this name.
        ValueError: a value cannot be read, or there is none.
    """
    place = check_readable(item)
    with faults_sorted(item):
        kinds = parse_json((place / layout.ITEM_INDEX).read_bytes())
        if kinds["use_zarr3"] or not kinds["use_ocdbt"]:
            raise ValueError(f"{item.name}: arrays of another format than resseg's")
        files = {"driver": "file", "path": f"{place}/"}
        spec = {"driver": "ocdbt", "base": files}
        store = tensorstore.KvStore.open(spec).result()
        keys = [key.decode() for key in store.list().result()]
        if not keys:
            raise ValueError(f"{item.name}: no arrays")
        described = [key for key in keys if key.endswith(f"/{DESCRIPTION}")]
        arrays = Arrays({key: _value(store, key) for key in described})
        stored = 0
        for key in sorted(set(keys) - set(described)):
            value = _value(store, key)
            arrays.check_unpacks(key, value)
            stored += len(value)
        arrays.check_backed(stored, wanted)


def _value(store: Any, key: str) -> bytes:
    return store.read(key).result().value


def read_json_through(item: Path) -> None:
    """As `read_through`, of an item that is JSON."""
    with faults_sorted(item):
        parse_json((item / layout.ITEM_JSON).read_bytes())


@contextlib.contextmanager
def faults_sorted(item: Path) -> Iterator[None]:
    """What the system refuses, apart from what was read and is wrong."""
    try:
        yield
    except FileNotFoundError as error:
        raise Damaged(f"{item.name}: without {Path(error.filename).name}") from error
    except OSError as error:
        raise UserError(f"{item}: cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        if refused := _REFUSED.search(str(error)):
            reason = os.strerror(int(refused[1]))
            raise UserError(f"{item}: cannot be read: {reason}") from error
        raise Damaged(str(error)) from error


def _report_unraisable(hook: Callable, unraisable: Any) -> None:
    """As `hook`, but for reads whose event loop ended with the first that failed."""
    if "Event loop is closed" not in str(unraisable.exc_value):
        hook(unraisable)
