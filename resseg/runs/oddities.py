"""Scores that look too good, or too odd, to be taken as they are: one line each."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

from resseg.runs import layout
from resseg.runs.dropped import read_dropped
from resseg.runs.unread import read_unread

_EARLY = 10  # the best evaluation is early where the last is so many times later
_NAMED = 4  # classes or images that a line lists


def in_scores(
    scores: Mapping[str, Any], classes: Sequence[str], split: str
) -> list[str]:
    """Of an evaluation: an IoU that is exactly 1, one class predicted everywhere.

    Args:
        scores: with `iou` and `class_accuracy`, by class; what is absent is not judged.
        classes: their names.
        split: that was evaluated.
    """
    lines = []
    perfect = [
        name
        for name, iou in zip(classes, scores.get("iou", ()), strict=False)
        if iou == 1
    ]
    if perfect:
        lines.append(
            f"IoU is exactly 1 on {split} for {_listed(perfect)}: look whether the "
            "images show the truth, or stand in the training split"
        )
    only = _only_class(scores.get("class_accuracy", ()))
    if only is not None and only < len(classes):
        lines.append(f"every labelled pixel of {split} is predicted {classes[only]}")
    return lines


def _only_class(accuracies: Sequence[float]) -> int | None:
    """The class that all pixels of all classes were predicted as, if it is one."""
    known = {place: value for place, value in enumerate(accuracies) if value == value}
    whole = [place for place, value in known.items() if value == 1]
    others = [value for value in known.values() if value != 1]
    return whole[0] if len(whole) == 1 and others and not any(others) else None


def in_best(best: int | None, evaluated: Sequence[int]) -> list[str]:
    """Of the step of the best evaluation, among all that were evaluated."""
    if best is None or not evaluated or best * _EARLY > max(evaluated):
        return []
    return [
        f"the best evaluation is that of step {best:,} of {max(evaluated):,}: "
        "nothing that was learned later has helped"
    ]


def in_split(
    split: str, trained_on: str, images: int, shared: Sequence[str] | int
) -> list[str]:
    """Of a split: that it was trained on, or has images of the one that was.

    Args:
        split: that is evaluated.
        trained_on: the training split; "" if it is of another data set.
        images: of the split.
        shared: those of its images that the training split has too, or how many.
    """
    if split == trained_on:
        return [f"the run was trained on {split}: this is no score of new images"]
    count = shared if isinstance(shared, int) else len(shared)
    if not count:
        return []
    names = "" if isinstance(shared, int) else f" ({_listed(shared)})"
    return [
        f"{count} of the {images} images of {split} are in the training split "
        f"too{names}: the score is better than for new images"
    ]


def in_data(workdir: str | os.PathLike) -> list[str]:
    """Of a run: that it was trained without some of its data.

    Raises:
        UserError: a list of what it left out is damaged.
    """
    lines = []
    if batches := len(read_dropped(workdir)):
        lines.append(
            f"batches that were not finite were dropped: {batches} ({layout.DROPPED})"
        )
    if images := len(read_unread(workdir)):
        lines.append(
            f"images that could not be read were replaced: {images} ({layout.UNREAD})"
        )
    return lines


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
