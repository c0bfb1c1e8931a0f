"""Label files become the pairs of a data set."""

import dataclasses
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from resseg.data.findings import Finding
from resseg.data.labels.formats import (
    NO_OPTIONS,
    Format,
    Labelled,
    Options,
    Reading,
    Request,
)
from resseg.data.labels.painting import Objects, Painting
from resseg.data.labels.places import Images
from resseg.data.labels.scheme import Scheme, left_over, scheme
from resseg.data.labels.table import format_of
from resseg.data.pairs import WHOLE, Listing, Pair
from resseg.errors import UserError, require_installed

_SPLIT = re.compile(r"([a-z][a-z0-9_]*)=(.+)", re.DOTALL)


class Place(NamedTuple):
    """Where label files lie, and the split that they are for."""

    split: str
    path: Path


def places(words: Iterable[str]) -> list[Place]:
    """`PATH`, or one `SPLIT=PATH` for each split.

    Raises:
        UserError: several without a split, or a split twice.
    """
    found: list[Place] = []
    for word in words:
        named = _SPLIT.fullmatch(word) if not Path(word).exists() else None
        found.append(
            Place(named[1], Path(named[2])) if named else Place(WHOLE, Path(word))
        )
    splits = [place.split for place in found]
    for split in splits:
        if splits.count(split) > 1:
            count = f"{len(splits)} of them: give each as SPLIT=PATH"
            what = count if split == WHOLE else f"{split!r} comes twice"
            raise UserError(f"--labels: {what}")
    if WHOLE in splits and len(splits) > 1:
        raise UserError("--labels: give each as SPLIT=PATH, or one alone")
    return found


def read(
    found: Sequence[Place],
    root: Path | None,
    name: str | None = None,
    options: Options = NO_OPTIONS,
) -> tuple[Format, Reading]:
    """Reads label files of one format.

    Args:
        found: where they lie.
        root: folder of the images; None = beside the labels.
        name: of the format; None = by their content.
        options: further ones.

    Raises:
        UserError: a file is broken, or the formats differ.
    """
    rows = [format_of(place.path, name) for place in found]
    for row, place in zip(rows, found, strict=True):
        if row is not rows[0]:
            raise UserError(
                f"--labels {place.path}: {row.name}, and {found[0].path} is "
                f"{rows[0].name}; expected one format"
            )
    if rows[0].needs:
        require_installed(rows[0].needs, "labels", f"--labels {found[0].path}")
    whole = Reading([], [])
    known: dict[Path, Images] = {}
    for place in found:
        part = rows[0].read(Request(place.path, root, known, place.split, options))
        whole.images += part.images
        whole.categories += [n for n in part.categories if n not in whole.categories]
        whole.findings += part.findings
        whole.classes = whole.classes or part.classes
        whole.rule = whole.rule or part.rule
    for images in known.values():
        whole.findings += images.unused()
        names = images.names()
        whole.images = [
            dataclasses.replace(each, name=names[each.image])
            if not each.name and each.image in names
            else each
            for each in whole.images
        ]
    return rows[0], whole


def decide(
    row: Format,
    reading: Reading,
    classes: Sequence[str] | None,
    rest: str | None,
    unlisted: str | None,
    overlap: str,
) -> Scheme:
    """Which category is which class; see `scheme.scheme`."""
    own = classes if classes is not None else reading.classes
    fate = unlisted or row.unlisted
    return scheme(own, reading.categories, rest, row.rest, fate, overlap)


def painted(where: str, reading: Reading, decided: Scheme) -> Listing:
    """The pairs of labels that are objects; their masks hold class indices.

    Args:
        where: the label files.
        reading: from `read`.
        decided: from `decide`.
    """
    objects = (
        each.category
        for labelled in reading.images
        if isinstance(labelled.content, Objects)
        for each in labelled.content.objects
    )
    extra = left_over(where, decided, objects)
    return _listing(reading, [*reading.findings, *extra], decided)


def valued(reading: Reading) -> Listing:
    """The pairs of labels that are masks with values."""
    return _listing(reading, reading.findings, None)


def _listing(
    reading: Reading, findings: list[Finding], decided: Scheme | None
) -> Listing:
    splits: dict[str, list[Pair]] = {}
    for each in reading.images:
        splits.setdefault(each.split, []).append(_pair(each, decided))
    if not splits:
        first = next((item for item in findings if item.severity == "error"), None)
        message = f": {first.file}: {first.message}" if first else ""
        raise UserError(f"--labels: no image has labels{message}")
    return Listing(splits, findings)


def _pair(each: Labelled, decided: Scheme | None) -> Pair:
    content = each.content
    if isinstance(content, Objects):
        assert decided is not None
        content = Painting(each.image, content, decided)
    return Pair(each.split, each.name, each.image, content, each.group)
