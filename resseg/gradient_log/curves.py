"""Curves of a gradient log: shares over training, profiles over depth, run by run."""

import os
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from resseg.figures import label_of, new_figure, save, style
from resseg.gradient_log.summary import KINDS, geometric_mean
from resseg.gradient_log.timeline import Timeline, share_by_stage

_SMOOTH = 60  # points of a curve over training at most
_SLICES = 5  # steps whose profiles are drawn unless some are asked for


def save_shares(lines: Sequence[Timeline], path: str | os.PathLike, title: str) -> None:
    """The share of shortcuts by stage, and of every long skip and auxiliary path."""
    stages = share_by_stage(lines)
    named = dict(zip(_short(list(stages)), stages.values(), strict=True))
    groups = [("Shortcuts, mean of each stage", named, lines)]
    for kind in list(KINDS)[1:]:
        chosen = [line for line in lines if line.kind == kind]
        named = {
            f"{line.name} · {name}": share
            for line in chosen
            for name, share in _first_paths(line)
        }
        groups.append((KINDS[kind], named, chosen))
    groups = [group for group in groups if group[1]]
    figure = new_figure(7.5, 0.6 + 2.1 * max(len(groups), 1))
    axes = figure.subplots(max(len(groups), 1), 1, sharex=True, squeeze=False)[:, 0]
    for plot, (name, shares, of) in zip(axes, groups, strict=False):
        for number, (label, share) in enumerate(shares.items()):
            steps, smooth = _thin(of[0].steps, share)
            plot.plot(steps, smooth, label=label, **style(number, marks=False))
        plot.set_ylim(-0.02, 1.02)
        plot.set_ylabel("share of l2²")
        plot.set_title(name, fontsize=10, loc="left")
        _legend(plot)
    axes[-1].set_xlabel("step")
    figure.suptitle(title, fontsize=11)
    save(figure, path)


def save_profiles(
    lines: Sequence[Timeline],
    path: str | os.PathLike,
    title: str,
    steps: Sequence[int] = (),
) -> None:
    """Site norm and shortcut share of the residual blocks over depth, at some steps."""
    blocks = [line for line in lines if line.kind == "block"] or list(lines)
    logged = blocks[0].steps
    if not steps:
        places = np.linspace(0, len(logged) - 1, min(_SLICES, len(logged)))
        steps = [int(logged[int(place)]) for place in places]
    curves = []
    for step in steps:
        at = int(np.searchsorted(logged, step))
        totals = [float(line.total[at]) for line in blocks]
        shares = [float(line.share[0][at]) for line in blocks]
        curves.append((f"step {step:,}", blocks, totals, shares))
    _profiles(curves, path, title, "site norm of the whole gradient")


def save_comparison(
    runs: Sequence[tuple[str, Sequence[Timeline]]],
    path: str | os.PathLike,
    title: str,
    *,
    normalized: bool,
) -> None:
    """The profiles of several runs, means over their steps.

    Args:
        runs: label, and the forks at the steps that count.
        path: picture file.
        title: above all.
        normalized: each over its last block.
    """
    curves = []
    for label, lines in runs:
        blocks = [line for line in lines if line.kind == "block"] or list(lines)
        totals = np.array([geometric_mean(line.total) for line in blocks])
        if normalized:
            totals = totals / totals[-1] if totals[-1] > 0 else totals * np.nan
        shares = [_finite_mean(line.share[0]) for line in blocks]
        curves.append((label, blocks, totals.tolist(), shares))
    what = "site norm" + (" over that of the last block" if normalized else "")
    _profiles(curves, path, title, what)


def _profiles(curves, path: str | os.PathLike, title: str, what: str) -> None:
    names = [line.name for line in max((c[1] for c in curves), key=len)]
    figure = new_figure(max(6.5, 1.5 + 0.28 * len(names)), 6.2)
    upper, lower = figure.subplots(2, 1, sharex=True)
    for number, (label, blocks, totals, shares) in enumerate(curves):
        place = [names.index(line.name) for line in blocks if line.name in names]
        if len(place) < len(blocks):  # another network: by position
            place = list(range(len(blocks)))
        look = style(number)
        positive = [value if value > 0 else np.nan for value in totals]
        upper.plot(place, positive, label=label_of(label), **look)
        lower.plot(place, shares, label=label_of(label), **look)
    upper.set_yscale("log")
    upper.set_ylabel(what)
    lower.set_ylabel(f"share of the {curves[0][1][0].paths[0]}")
    lower.set_ylim(-0.02, 1.02)
    every = max(1, len(names) // 30)
    lower.set_xticks(
        range(0, len(names), every), _short(names)[::every], rotation=90, fontsize=7
    )
    for axes in (upper, lower):
        axes.grid(alpha=0.3)
    _legend(upper)
    figure.suptitle(title, fontsize=11)
    save(figure, path)


def _legend(axes: Axes) -> None:
    axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), fontsize=8)


def _short(names: list[str]) -> list[str]:
    """Names without the part in front that all have: `backbone/`."""
    first = (names[0] if names else "").partition("/")[0] + "/"
    shared = all(name.startswith(first) for name in names)
    return [name.removeprefix(first) for name in names] if shared else names


def _first_paths(line: Timeline) -> list[tuple[str, np.ndarray]]:
    """The first of two paths says it all; of more, all but the last do."""
    names = line.paths if len(line.paths) > 2 else line.paths[:1]
    return list(zip(names, line.share, strict=False))


def _thin(steps: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Means of groups of steps, so that a curve has some points and not thousands."""
    count = min(_SMOOTH, len(steps))
    groups = np.array_split(np.arange(len(steps)), count)
    return (
        np.array([steps[group].mean() for group in groups]),
        np.array([_finite_mean(values[group]) for group in groups]),
    )


def _finite_mean(values: np.ndarray) -> float:
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if finite.size else float("nan")
