"""Reliability diagrams: how often what has a probability of p is true."""

import math
import os
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes

from resseg import figures

_AREAS = ("all pixels", "boundary band", "interior")
_PANELS, _COLUMNS = 24, 4  # most panels of classes, those with most pixels first
_FEWEST = 10  # pixels of a bin that is drawn: fewer say nothing
_SIDE = 2.6  # inches


def draw(
    path: str | os.PathLike,
    tables: Mapping[str, np.ndarray],
    classes: Sequence[str],
    title: str,
) -> None:
    """Draws the predicted class and every class by itself, each with three curves.

    All pixels, the boundary band and the interior, over 15 bins; grey bars show the
    share of all pixels in each.

    Args:
        path: of the figure; its ending says its kind.
        tables: of `Calibration.reliability`.
        classes: their names.
        title: what was evaluated.
    """
    true = tables["classes"][:, 0, :, 2].sum(-1)
    shown = np.sort(np.argsort(-true, kind="stable")[:_PANELS])
    names = ["predicted class", *(classes[place] for place in shown)]
    panels = list(zip(names, [tables["top"], *tables["classes"][shown]], strict=True))
    columns = min(_COLUMNS, len(panels))
    rows = math.ceil(len(panels) / columns)
    figure = figures.new_figure(_SIDE * columns, _SIDE * rows + 0.6)
    if left := len(classes) - len(shown):
        title += f"; {left} rarer classes are not drawn"
    figure.suptitle(title, fontsize=9)
    grid = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
    for axes, (name, table) in zip(grid.flat, panels, strict=False):
        _panel(axes, name, table)
    for axes in grid.flat[len(panels) :]:
        axes.set_axis_off()
    for axes in grid[:, 0]:
        axes.set_ylabel("share that is true", fontsize=8)
    for place in range(columns):
        lowest = max(at for at in range(rows) if at * columns + place < len(panels))
        grid[lowest, place].set_xlabel("probability", fontsize=8)
        grid[lowest, place].xaxis.set_tick_params(labelbottom=True)
    grid[0, 0].legend(fontsize=7, frameon=False, loc="upper left")
    figures.save(figure, path)


def _panel(axes: Axes, name: str, table: np.ndarray) -> None:
    """One diagram, of a table `[3, bins, 3]`."""
    pixels = table[..., 0]
    edges = np.linspace(0, 1, pixels.shape[1] + 1)
    share = pixels[0] / max(1.0, pixels[0].sum())
    axes.bar(edges[:-1], share, np.diff(edges), align="edge", color="#dddddd")
    axes.plot([0, 1], [0, 1], color="#888888", linewidth=0.8)
    for place, area in enumerate(_AREAS):
        drawn = pixels[place] >= _FEWEST
        mean, right = table[place, drawn, 1:].T / pixels[place, drawn]
        axes.plot(mean, right, label=area, **figures.style(place))
    axes.set_title(figures.label_of(name), fontsize=8)
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    axes.set_aspect("equal")
    axes.tick_params(labelsize=7)
