"""The figure of a probe: colours that hold in grey, and axes that read easily."""

import matplotlib
import pandas as pd
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from resseg.figures import COLORS, new_figure
from resseg.probes.probe import Probe


def figure_of(probe: Probe, table: pd.DataFrame) -> Figure:
    """What `probe` draws of its table; it can be saved."""
    figure = new_figure(8, 4.5)
    with matplotlib.rc_context({"axes.prop_cycle": cycler(color=COLORS)}):
        probe.draw(table, figure)
    for axes in figure.axes:
        _plain_numbers(axes)
    return figure


def _plain_numbers(axes: Axes) -> None:
    """0.3 instead of 3 x 10^-1 where a logarithmic axis spans little."""
    low, high = axes.get_ylim()
    if axes.get_yscale() != "log" or low < 1e-3 or high > 1e4 or high >= 50 * low:
        return
    few = "125" if high > 4 * low else "123456789"  # leading digits with a label

    def label(value: float, _: int | None) -> str:
        return f"{value:g}" if f"{value:e}"[0] in few else ""

    axes.yaxis.set_major_formatter(FuncFormatter(label))
    axes.yaxis.set_minor_formatter(FuncFormatter(label))
