"""The data set that a run was trained on: what it was, and what has changed since.

A run keeps what `resseg.data.sources.fingerprint` says. Runs of earlier versions keep
less: what one side does not say is not compared.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from resseg.errors import UserError
from resseg.runs import layout
from resseg.runs.json_files import read_json, write_json

# Each in words of its own; `shared` follows from the contents.
_SORTED_OUT = ("name", "classes", "splits", "contents", "shared")
_NAMED = 4  # classes that a message lists


def write_dataset(workdir: Path, values: Mapping[str, Any]) -> None:
    """Stores what a run is trained on: a prediction needs the names, not the data."""
    write_json(workdir / layout.DATASET, values)


def read_dataset(workdir: Path) -> dict[str, Any]:
    """What `write_dataset` stored; empty where a run has not got that far.

    Raises:
        UserError: the file is damaged.
    """
    file = workdir / layout.DATASET
    return read_json(file) if file.exists() else {}


def changes(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What differs between two states of a data set, in words.

    Args:
        then: as a run keeps it.
        now: likewise.
    """
    words = []
    if then.get("name") and now.get("name") and then["name"] != now["name"]:
        words.append(f"it was {then['name']} and is {now['name']}")
    if then.get("classes") and now.get("classes"):
        words += _classes(then["classes"], now["classes"])
    words += _splits(then, now)
    for key in sorted({*then} & {*now} - {*_SORTED_OUT}):
        if then[key] != now[key] and None not in (then[key], now[key]):
            words.append(f"{key} was {then[key]} and is {now[key]}")
    return words


def check_unchanged(folder: Path, now: Mapping[str, Any]) -> list[str]:
    """That a run may go on with a data set as it is now.

    Returns:
        Lines for people: what could not be compared.

    Raises:
        UserError: it has changed since the run began.
    """
    then = read_dataset(folder)
    changed = changes(then, now)
    if changed:
        raise UserError(
            f"--workdir {folder}: data set {now['name']} has changed since this run "
            f"began: {'; '.join(changed)}. Prepare it as it was to resume the run, or "
            "train in another folder"
        )
    if not then.get("contents"):
        return [
            f"data set {now['name']}: this run, of an earlier version, does not say "
            "what its images were; only names and counts are compared"
        ]
    return []


def are_unnamed(classes: Sequence[str]) -> bool:
    """Whether names only count, as those that an import makes up."""
    return list(classes) == unnamed(len(classes))


def unnamed(count: int) -> list[str]:
    """Names of classes that nobody has named."""
    return [f"class{index}" for index in range(count)]


def fingerprint(values: Mapping[str, Any]) -> str:
    """Eight hexadecimal digits that are equal for equal data sets; "" for none."""
    if not values:
        return ""
    text = json.dumps(values, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def _classes(then: Sequence[str], now: Sequence[str]) -> list[str]:
    if list(then) == list(now):
        return []
    if len(then) != len(now):
        return [f"it had {len(then)} classes and has {len(now)}{_other(then, now)}"]
    pairs = zip(then, now, strict=True)
    moved = [
        f"class {index} was {old!r} and is {new!r}"
        for index, (old, new) in enumerate(pairs)
        if old != new
    ]
    more = f" and {len(moved) - _NAMED} more" if len(moved) > _NAMED else ""
    return [", ".join(moved[:_NAMED]) + more]


def _other(then: Sequence[str], now: Sequence[str]) -> str:
    """The names that only one of the two has."""
    parts = []
    for word, some, others in (("without", then, now), ("with", now, then)):
        names = [repr(name) for name in some if name not in others]
        if names:
            more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
            parts.append(f"{word} {', '.join(names[:_NAMED])}{more}")
    return f" ({'; '.join(parts)})" if parts else ""


def _splits(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Of the splits whose contents are meant, and of their numbers of images."""
    words = []
    meant, was = now.get("contents", {}), then.get("contents", {})
    for split in meant:
        counts = [each.get("splits", {}).get(split) for each in (then, now)]
        if None not in counts and counts[0] != counts[1]:
            words.append(f"split {split} had {counts[0]} images and has {counts[1]}")
        elif split in was and was[split] != meant[split]:
            words.append(f"split {split} has other images, masks or names")
    return words
