"""Numbers over steps as one short line of text."""

import math

import numpy as np

WIDTH = 10  # characters
_BARS = "▁▂▃▄▅▆▇█"
_PLAIN = ".:-=+*#@"
_DEAD, _NOT_FINITE, _ABSENT = "_", "x", "?"


def norm_line(values: np.ndarray, unicode: bool = True, width: int = WIDTH) -> str:
    """Norms on a log scale of their own, which spans a decade at least.

    A group of steps in which one is not finite is an x, one that is exactly 0 all along
    a low line.
    """
    groups = np.array_split(values, min(width, len(values)))
    logs = np.array([_log_mean(group) for group in groups])
    finite = logs[np.isfinite(logs)]
    if finite.size:
        middle = (finite.max() + finite.min()) / 2
        reach = max(np.ptp(finite) / 2, 0.5)
        logs = (logs - middle + reach) / (2 * reach)
    return "".join(_mark(level, unicode) for level in logs)


def share_line(values: np.ndarray, unicode: bool = True, width: int = WIDTH) -> str:
    """Shares from 0 to 1; a question mark where none is defined."""
    marks = []
    for group in np.array_split(values, min(width, len(values))):
        finite = group[np.isfinite(group)]
        marks.append(_mark(float(finite.mean()), unicode) if finite.size else _ABSENT)
    return "".join(marks)


def _log_mean(group: np.ndarray) -> float:
    """Mean log10; NaN if one is not finite, -inf if all are 0."""
    if not np.isfinite(group).all():
        return math.nan
    positive = group[group > 0]
    return float(np.log10(positive).mean()) if positive.size else -math.inf


def _mark(level: float, unicode: bool) -> str:
    if math.isnan(level):
        return _NOT_FINITE
    if level == -math.inf:
        return _DEAD
    marks = _BARS if unicode else _PLAIN
    return marks[min(max(int(level * len(marks)), 0), len(marks) - 1)]
