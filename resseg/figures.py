from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

# Okabe and Ito's colours, told apart by dashes and marks as well: they hold under the
# common colour-vision deficiencies and in grey.
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#000000", "#e69f00", "#56b4e9")
DASHES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (8, 2)), (0, (1, 1)))
MARKS = ("o", "s", "^", "D", "v", "P", "X")


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


def _figure(size: tuple[float, float]) -> Figure:
    figure = Figure(size, layout="constrained")
    FigureCanvasAgg(figure)
    return figure
