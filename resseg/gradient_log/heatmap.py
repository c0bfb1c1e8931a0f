"""Depth x step picture of a gradient log.

One row of panels per kind of fork: the gradient over its first path, over its second,
and the share of the first. Rows of a panel are forks, the one next to the image on
top; columns are logged steps, several together where there are many.
"""

import math
import os
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import (
    Colormap,
    LinearSegmentedColormap,
    ListedColormap,
    Normalize,
)
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from resseg.figures import new_figure, save
from resseg.gradient_log.summary import KINDS, by_paths, column, summarise, where

_BINS = 300  # columns of a panel at most
_NOT_FINITE = "#000000"
_DEAD = "#ffe119"

# Inches: width of a panel, to its right; above and below all panels, under each.
_WIDTH, _BETWEEN, _ABOVE, _BELOW, _UNDER = 3.3, 0.2, 0.75, 1.07, 0.62


class _Panel(NamedTuple):
    title: str
    values: np.ndarray  # [rows, bins]
    is_share: bool


class _PanelRow(NamedTuple):
    kind: str
    labels: list[str]
    panels: list[_Panel]


@dataclass(frozen=True)
class _Bins:
    """Logged steps in groups of equal size."""

    steps: np.ndarray  # [steps], ascending
    index: np.ndarray  # [steps], the bin of each
    count: int


def save_heatmap(
    gradients: pd.DataFrame, path: str | os.PathLike, title: str = ""
) -> None:
    """Draws the log into a picture file, its kind taken from the ending of `path`.

    Colours show log10 of the site norm, white being the median of all of them. A bin
    in which any step is not finite is black; one in which every step is exactly 0
    (dead) is yellow.
    """
    bins = _bins(column(gradients, "step"))
    kinds = column(gradients, "kind")
    sections = [
        section
        for kind in KINDS
        if (kinds == kind).any()
        for section in _sections(kind, where(gradients, kinds == kind), bins)
    ]
    save(_draw(sections, bins, title), path)


def _bins(steps: np.ndarray) -> _Bins:
    unique = np.unique(steps)
    count = min(_BINS, len(unique))
    return _Bins(unique, np.arange(len(unique)) * count // len(unique), count)


def _sections(kind: str, rows: pd.DataFrame, bins: _Bins) -> list[_PanelRow]:
    """Forks whose paths have the same names share a section."""
    steps = column(rows, "step")
    one = where(rows, steps == steps[0])
    sections = []
    for group, forks in by_paths(summarise(one)).items():
        if len(group) > 2:
            keys = [(fork.depth, path) for fork in forks for path in group]
            labels = [f"{fork.name} · {path}" for fork in forks for path in group]
            panels = [
                _Panel("gradient", _log_site(rows, keys, bins), False),
                _Panel("share", _share(rows, keys, bins), True),
            ]
        else:
            labels = [fork.name for fork in forks]
            by_path = [[(fork.depth, path) for fork in forks] for path in group]
            panels = [
                _Panel(path, _log_site(rows, keys, bins), False)
                for path, keys in zip(group, by_path, strict=True)
            ]
            share = _share(rows, by_path[0], bins)
            panels.append(_Panel(f"share of {panels[0].title}", share, True))
        sections.append(_PanelRow(kind, labels, panels))
    return sections


def _cells(
    rows: pd.DataFrame, keys: list[tuple[int, str]], bins: _Bins
) -> tuple[pd.DataFrame, np.ndarray]:
    """The rows of `keys`, and for each the flat index of its cell in [keys, bins]."""
    path, paths = pd.factorize(column(rows, "path"))
    names = {name: code for code, name in enumerate(paths)}
    code = column(rows, "depth") * len(names) + path
    lines = np.full(code.max() + 1, -1)
    for line, (depth, name) in enumerate(keys):
        lines[depth * len(names) + names[name]] = line
    line = lines[code]
    kept = where(rows, line >= 0)
    bin_ = bins.index[np.searchsorted(bins.steps, column(kept, "step"))]
    return kept, line[line >= 0] * bins.count + bin_


def _log_site(
    rows: pd.DataFrame, keys: list[tuple[int, str]], bins: _Bins
) -> np.ndarray:
    """Mean log10 site norm per cell; NaN = a step is not finite, -inf = all are 0."""
    kept, cell = _cells(rows, keys, bins)
    site = column(kept, "site")
    size = len(keys) * bins.count
    positive = np.isfinite(site) & (site > 0)
    logs = np.log10(site[positive])
    number = np.bincount(cell[positive], minlength=size)
    total = np.bincount(cell[positive], logs, minlength=size)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = np.where(number > 0, total / number, -math.inf)
    mean[np.unique(cell[~np.isfinite(site)])] = math.nan
    return mean.reshape(len(keys), bins.count)


def _share(rows: pd.DataFrame, keys: list[tuple[int, str]], bins: _Bins) -> np.ndarray:
    """Mean share per cell; -inf = no step has one, NaN = a step is not finite."""
    kept, cell = _cells(rows, keys, bins)
    share, site = column(kept, "share"), column(kept, "site")
    size = len(keys) * bins.count
    defined = np.isfinite(share)
    number = np.bincount(cell[defined], minlength=size)
    total = np.bincount(cell[defined], share[defined], minlength=size)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = np.where(number > 0, total / number, -math.inf)
    mean[np.unique(cell[~np.isfinite(site)])] = math.nan
    return mean.reshape(len(keys), bins.count)


def _draw(sections: list[_PanelRow], bins: _Bins, title: str) -> Figure:
    row = min(0.3, max(0.11, 9.0 / sum(len(s.labels) for s in sections)))
    heights = [max(len(section.labels) * row, 0.35) for section in sections]
    columns = max(len(section.panels) for section in sections)
    start = 0.3 + 0.075 * max(len(name) for s in sections for name in s.labels)
    width = start + columns * (_WIDTH + _BETWEEN)
    height = _ABOVE + sum(heights) + _UNDER * (len(sections) - 1) + _BELOW
    figure = new_figure(width, height, layout=None)

    def axes_at(column: int, bottom: float, tall: float) -> Axes:
        left = start + column * (_WIDTH + _BETWEEN)
        return figure.add_axes(
            (left / width, bottom / height, _WIDTH / width, tall / height)
        )

    scale = _site_scale(sections)
    top = height - _ABOVE
    for section, tall in zip(sections, heights, strict=True):
        for position, panel in enumerate(section.panels):
            column = columns - 1 if panel.is_share else position
            axes = axes_at(column, top - tall, tall)
            _panel(axes, panel, scale, bins)
            if position == 0:
                _name_rows(axes, section.labels, row)
            if section is sections[-1]:
                axes.set_xlabel("step", fontsize=8)
        place = (0.12 / width, (top + 0.1) / height)
        figure.text(*place, KINDS[section.kind], fontsize=9, fontweight="bold")
        top -= tall + _UNDER
    _color_bar(axes_at(0, 0.36, 0.1), scale, "log10 site norm, white = median", False)
    share = Normalize(0, 1)
    _color_bar(axes_at(columns - 1, 0.36, 0.1), share, "share, white = half", True)
    figure.text(0.12 / width, 1 - 0.28 / height, title, fontsize=11)
    marks = [
        Patch(color=_NOT_FINITE, label="not finite"),
        Patch(color=_DEAD, label="exactly 0"),
    ]
    corner = (1 - _BETWEEN / width, 1 - 0.1 / height)
    figure.legend(
        handles=marks,
        loc="upper right",
        bbox_to_anchor=corner,
        ncols=2,
        fontsize=8,
        frameon=False,
        borderaxespad=0,
    )
    return figure


def _site_scale(sections: list[_PanelRow]) -> Normalize:
    """Symmetric about the median, wide enough for 98 % of the cells."""
    values = np.concatenate(
        [p.values.ravel() for s in sections for p in s.panels if not p.is_share]
    )
    values = values[np.isfinite(values)]
    if not values.size:
        return Normalize(-1, 1)
    middle = float(np.median(values))
    low, high = np.quantile(values, [0.01, 0.99])
    reach = max(high - middle, middle - low, 0.25)
    return Normalize(middle - reach, middle + reach)


def _map(is_share: bool) -> LinearSegmentedColormap:
    # Without the darkest ends, which could be taken for the black of "not finite".
    # Both scales hold under the common colour-vision deficiencies.
    whole = colormaps["PuOr" if is_share else "RdBu_r"]
    return LinearSegmentedColormap.from_list("", whole(np.linspace(0.08, 0.92, 256)))


def _panel(axes: Axes, panel: _Panel, scale: Normalize, bins: _Bins) -> None:
    norm = Normalize(0, 1) if panel.is_share else scale
    _paint(axes, np.ma.masked_invalid(panel.values), _map(panel.is_share), norm)
    broken = np.isnan(panel.values)
    for mask, color in ((broken, _NOT_FINITE), (np.isneginf(panel.values), _DEAD)):
        if mask.any():
            marked = np.ma.masked_where(~mask, np.ones(mask.shape))
            _paint(axes, marked, ListedColormap([color]), Normalize())
    columns = np.flatnonzero(broken.any(axis=0))
    if columns.size:  # one bad step of many is a thin line: point at it
        axes.plot(
            columns,
            np.full(columns.size, -0.5),
            "v",
            color=_NOT_FINITE,
            markersize=4,
            clip_on=False,
        )
    axes.set_title(panel.title, fontsize=8.5, pad=5)
    first, last = int(bins.steps[0]), int(bins.steps[-1])
    steps = MaxNLocator(5, integer=True).tick_values(first, last)
    steps = [int(step) for step in steps if first <= step <= last]
    ticks = bins.index[np.searchsorted(bins.steps, steps)]
    axes.set_xticks(ticks, [f"{step:,}" for step in steps], fontsize=7)
    axes.set_yticks([])
    axes.tick_params(length=2, pad=2)
    for spine in axes.spines.values():
        spine.set_linewidth(0.5)


def _paint(axes: Axes, values: np.ndarray, colors: Colormap, norm: Normalize) -> None:
    axes.imshow(values, colors, norm, aspect="auto", interpolation="nearest")


def _name_rows(axes: Axes, labels: list[str], row: float) -> None:
    every = math.ceil(0.11 / row)
    axes.set_yticks(
        range(0, len(labels), every),
        labels[::every],
        fontsize=min(8.0, max(5.5, 60 * row)),
    )


def _color_bar(axes: Axes, scale: Normalize, name: str, is_share: bool) -> None:
    low, high = float(scale.vmin or 0), float(scale.vmax or 0)
    ramp = np.linspace(0, 1, 256)[None]
    axes.imshow(ramp, cmap=_map(is_share), aspect="auto", extent=(low, high, 0, 1))
    axes.set_yticks([])
    axes.set_xlabel(name, fontsize=7.5, labelpad=1)
    axes.tick_params(labelsize=7, length=2, pad=1)
