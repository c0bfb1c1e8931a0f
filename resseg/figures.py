"""One style for every figure: colours, dashes, marks, and how a figure is saved."""

import contextlib
import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import LogFormatter

from resseg.errors import naming

# Okabe and Ito's colours, told apart by dashes and marks as well: they hold under the
# common colour-vision deficiencies and in grey.
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#000000", "#e69f00", "#56b4e9")
DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (8, 2)), (0, (1, 1)))
MARKS = ("o", "s", "^", "D", "v", "P", "X")
DPI = 150
# Without the time, the same figure is the same file.
_METADATA = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}


def style(number: int, *, marks: bool = True) -> dict:
    """The look of a curve: colour, dashes and, at its points, marks."""
    look = {
        "color": COLORS[number % len(COLORS)],
        "linestyle": DASHES[number % len(DASHES)],
        "linewidth": 1.6,
    }
    if marks:
        look |= {"marker": MARKS[number % len(MARKS)], "markersize": 4}
    return look


def new_figure(
    width: float,
    height: float,
    *,
    layout: Literal["constrained"] | None = "constrained",
) -> Figure:
    """An empty figure of so many inches; it needs no display.

    Args:
        width, height: inches.
        layout: of matplotlib; None where the axes are placed by hand.
    """
    figure = Figure((width, height), layout=layout)
    FigureCanvasAgg(figure)
    return figure


def save(figure: Figure, path: str | os.PathLike, *, dpi: int = DPI) -> None:
    """Writes a figure, its kind taken from the ending of `path`."""
    _as_written(figure)
    metadata = _METADATA.get(Path(path).suffix)
    fixed = rc_context({"svg.hashsalt": "resseg"})
    with _boxes_for_glyphs(), fixed, naming(path):
        figure.savefig(path, dpi=dpi, metadata=metadata)


def pixels(figure: Figure, dpi: int) -> np.ndarray:
    """A figure as uint8 RGB `[height, width, 3]`."""
    _as_written(figure)
    figure.set_dpi(dpi)
    canvas = FigureCanvasAgg(figure)
    with _boxes_for_glyphs():
        canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


@contextlib.contextmanager
def _boxes_for_glyphs() -> Iterator[None]:
    """A name that the font lacks is drawn as boxes, without a warning for each."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")
        yield


def label_of(text: str) -> str:
    """The label of a curve or patch whose name a user chose, for a legend.

    A label with an underscore in front would be left out of the legend; with a space of
    no width before it, it is not.
    """
    return f"\u200b{text}" if text.startswith("_") else text


def _as_written(figure: Figure) -> None:
    """Names of classes and runs may hold `$`: no text of a figure is a formula.

    But for ticks that matplotlib words itself: powers of ten on logarithmic axes.
    """
    for text in figure.findobj(Text):
        assert isinstance(text, Text)
        text.set_parse_math(False)
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            worded = isinstance(axis.get_major_formatter(), LogFormatter)
            for tick in axis.get_ticklabels(which="both"):
                tick.set_parse_math(worded)
