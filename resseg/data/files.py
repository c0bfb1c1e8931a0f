"""The files of a folder, or of a pattern, by the name that image and mask share."""

import os
import unicodedata
from collections.abc import Sequence
from pathlib import Path

from resseg.data.findings import Finding
from resseg.errors import UserError

_NAMED = 5  # of the things that were passed over


def require_place(option: str, place: Path) -> None:
    """Raises UserError unless this is a folder, or a pattern within one."""
    if place.is_dir():
        return
    stars = place.name.count("*")
    if stars > 1 or "*" in str(place.parent):
        raise UserError(
            f"{option} {place}: expected one * in it, in the name of the files, such "
            "as masks/*_mask.png"
        )
    if stars and not place.parent.is_dir():
        raise UserError(f"{option} {place}: no such folder {place.parent}")
    if not stars:
        hint = "; expected a folder" if place.exists() else ""
        raise UserError(f"{option} {place}: no such folder{hint}")


def files_by_name(
    place: Path, suffixes: Sequence[str], what: str, findings: list[Finding]
) -> dict[str, Path]:
    """Finds the files of one kind, in the order of their names.

    Args:
        place: a folder, whose files are named by their stems; or a folder with a
            pattern such as `*_mask.png`, whose files are named by what `*` stands for.
        suffixes: of the kind that is looked for.
        what: "an image" or "a mask", for messages.
        findings: grows by what was passed over.
    """
    folder, before, after = _pattern(place)
    files: dict[str, Path] = {}
    hidden: list[str] = []
    inner: list[str] = []
    for path in sorted(folder.iterdir()):
        if path.is_dir():
            inner += [path.name] * (not path.name.startswith("."))
        elif path.name.startswith("."):
            hidden.append(path.name)
        elif not _matches(path.name, before, after):
            continue
        elif path.suffix.lower() not in suffixes:
            message = f"not {what} ({', '.join(suffixes)})"
            findings.append(Finding("extra", str(path), message))
        else:
            name = _name(path, before, after)
            if name in files:
                message = f"same name as {files[name].name}"
                findings.append(Finding("pair", str(path), message))
            else:
                files[name] = path
    for names, kind in ((hidden, "hidden file"), (inner, "subfolder")):
        if names:
            message = f"{_count(kind, len(names))} not read: {_some(names)}"
            findings.append(Finding("extra", str(folder), message))
    return files


def images_and_others(
    folder: Path, suffixes: Sequence[str]
) -> tuple[list[Path], list[str]]:
    """Files of a folder with one of the suffixes, in order; and what else it holds.

    Returns:
        The files, and a line of words for each kind of thing that is not read.
    """
    images: list[Path] = []
    others: dict[str, list[str]] = {
        "subfolder": [],
        "hidden file": [],
        "other file": [],
    }
    for path in sorted(folder.iterdir()):
        hidden = path.name.startswith(".")
        if path.is_dir():
            others["subfolder"] += [path.name] * (not hidden)
        elif hidden:
            others["hidden file"].append(path.name)
        elif path.suffix.lower() not in suffixes:
            others["other file"].append(path.name)
        else:
            images.append(path)
    return images, [
        f"{_count(kind, len(names))} not read: {_some(names)}"
        for kind, names in others.items()
        if names
    ]


def _pattern(place: Path) -> tuple[Path, str, str]:
    """The folder, and what stands before and after the `*`."""
    if place.is_dir():
        return place, "", ""
    before, _, after = place.name.partition("*")
    return place.parent, before, after


def _matches(name: str, before: str, after: str) -> bool:
    long_enough = len(name) > len(before) + len(after)
    return long_enough and name.startswith(before) and name.endswith(after)


def _name(path: Path, before: str, after: str) -> str:
    """The name of a pair: one spelling of accents, and text whatever the disk says."""
    name = path.name[len(before) : len(path.name) - len(after)]
    if not Path(after).suffix and not after.startswith("."):
        name = name.removesuffix(path.suffix)
    # Some systems write é as one character and some as two.
    name = unicodedata.normalize("NFC", name)
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def _count(kind: str, number: int) -> str:
    return f"{number} {kind}{'s' * (number > 1)}"


def _some(names: list[str]) -> str:
    return ", ".join(names[:_NAMED]) + ", ..." * (len(names) > _NAMED)
