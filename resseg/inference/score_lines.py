"""Scores as lines of text, each with its interval where it has one."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from resseg.inference.intervals import LEVEL, Interval

_MEANS = (
    {"mIoU": "mean_iou", "mean Dice": "mean_dice", "mean boundary IoU": ""},
    {"pixel accuracy": "pixel_accuracy", "mean class accuracy": ""},
)
_AREAS = {"all pixels": "", "boundary band": "boundary_", "interior": "interior_"}
_ERRORS = ("ece", "ace", "mce", "nll", "brier")
_WORDS = {"nll": "NLL", "brier": "Brier"}
Intervals = Mapping[str, Interval]


def score_lines(
    scores: Mapping[str, Any], classes: Sequence[str], known: Intervals | None = None
) -> list[str]:
    """One line per class, then the means.

    Args:
        scores: of an evaluation.
        classes: their names.
        known: intervals, by the names of scores.
    """
    known = known or {}
    rows = [
        (
            name,
            f"{scores['iou'][place]:.3f}{_ends(known, 'iou', place)}",
            f"{scores['dice'][place]:.3f}",
            f"{scores['boundary_iou'][place]:.3f}",
        )
        for place, name in enumerate(classes)
    ]
    lines = _table(("class", "IoU", "Dice", "boundary IoU"), rows)
    for means in _MEANS:
        parts = []
        for word, name in means.items():
            key = name or word.replace(" ", "_").lower()
            parts.append(f"{word} {scores[key]:.4f}{_ends(known, key, digits=4)}")
        lines.append("  ".join(parts))
    return lines


def calibration_lines(
    scores: Mapping[str, Any], classes: Sequence[str], known: Intervals | None = None
) -> list[str]:
    """Calibration errors of all pixels and of parts of them, then of each class."""
    known = known or {}
    titles = [_WORDS.get(name, name.upper()) for name in _ERRORS]
    rows = [
        (
            area,
            *(
                f"{scores[prefix + name]:.4f}{_ends(known, prefix + name, digits=4)}"
                for name in _ERRORS
            ),
        )
        for area, prefix in _AREAS.items()
    ]
    lines = _table(("probabilities", *titles), rows)
    rows = [
        (name, *(f"{scores[f'class_{each}'][place]:.4f}" for each in _ERRORS))
        for place, name in enumerate(classes)
    ]
    return [*lines, *_table(("class by itself", *titles), rows)]


def difference_lines(
    scores: Mapping[str, Any],
    others: Mapping[str, Any],
    known: Intervals,
    classes: Sequence[str],
) -> list[str]:
    """`others` less `scores`, with paired intervals, for what has one number or class.

    A difference whose interval holds no 0 is marked with a star.
    """
    rows = []
    names = ("mean_iou", "mean_dice", "mean_boundary_iou", "pixel_accuracy")
    for name in (*names, "mean_class_accuracy", *_ERRORS):
        if name in scores:
            gap = others[name] - scores[name]
            word = _WORDS.get(name, name.upper() if name in _ERRORS else name)
            rows.append(_difference(word.replace("_", " "), gap, known, name))
    for place, name in enumerate(classes):
        gap = others["iou"][place] - scores["iou"][place]
        rows.append(_difference(f"IoU {name}", gap, known, "iou", place))
    return _table(("score", "difference", ""), rows)


def change_lines(
    before: Mapping[str, Any],
    after: Mapping[str, Any],
    known: Sequence[Intervals],
    classes: Sequence[str],
) -> list[str]:
    """Calibration before and after something, with intervals.

    Args:
        before: scores of `Calibration.scores`.
        after: likewise.
        known: intervals of these, of those, and of the difference, paired.
        classes: their names.
    """
    rows = []
    for area, prefix in _AREAS.items():
        for name in _ERRORS:
            key = prefix + name
            texts = [
                f"{scores[key]:.4f}{_ends(own, key, digits=4)}"
                for scores, own in zip((before, after), known, strict=False)
            ]
            word = _WORDS.get(name, name.upper())
            _, *gap = _difference("", after[key] - before[key], known[-1], key)
            rows.append((f"{word}, {area}", *texts, *gap))
    for place, name in enumerate(classes):
        pair = [scores["class_ece"][place] for scores in (before, after)]
        texts = [f"{value:.4f}" for value in pair]
        rows.append((f"ECE, {name} by itself", *texts, f"{pair[1] - pair[0]:+.4f}", ""))
    return _table(("score", "before", "after", "difference", ""), rows)


def _difference(
    word: str, gap: float, known: Intervals, name: str, place: int | None = None
) -> tuple[str, str, str]:
    low, high = _pair(known, name, place)
    text = f"{gap:+.4f}"
    if np.isfinite(low):
        text += f" [{low:+.4f}, {high:+.4f}]"
    return word, text, "*" if low > 0 or high < 0 else ""


def interval_note(images: int, known: Intervals) -> str:
    """What the brackets are, or why there are none."""
    if not known:
        return f"{images} images only: intervals over images from 20 on"
    return f"[{LEVEL:.0%} intervals over the {images} images, BCa bootstrap]"


def _pair(known: Intervals, name: str, place: int | None) -> tuple[float, float]:
    if name not in known:
        return np.nan, np.nan
    low, high = known[name]
    return (low, high) if place is None else (low[place], high[place])


def _ends(
    known: Intervals, name: str, place: int | None = None, digits: int = 3
) -> str:
    low, high = _pair(known, name, place)
    return f" [{low:.{digits}f}, {high:.{digits}f}]" if np.isfinite(low) else ""


def _table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Columns side by side; the first to the left, the others under their titles."""
    widths = [max(map(len, column)) for column in zip(titles, *rows, strict=True)]
    return [
        "  ".join(
            text.ljust(width) for text, width in zip(row, widths, strict=True)
        ).rstrip()
        for row in (titles, *rows)
    ]
