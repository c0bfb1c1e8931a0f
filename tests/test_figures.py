"""Names that users chose stand in figures as they are."""

import numpy as np
import pytest
from matplotlib.text import Text

from resseg.figures import label_of, new_figure, pixels, save

NAMES = ["$<5_$", "a$b", r"$\frac$", r"\$x\$", "_hidden", "[void]", "^{2}_{", "细胞"]


def _figure(name):
    figure = new_figure(4, 3)
    axes = figure.subplots()
    axes.plot([0, 1], [1, 100], label=label_of(name))
    axes.set_title(name)
    axes.set_xticks([0, 1], [name, "b"])
    axes.set_yscale("log")
    axes.annotate(name, (0, 1))
    axes.legend()
    figure.suptitle(name)
    return figure


@pytest.mark.filterwarnings("error:Glyph")
@pytest.mark.parametrize("name", NAMES)
def test_no_name_is_a_formula_and_none_is_left_out(name, tmp_path):
    figure = _figure(name)
    assert pixels(figure, 60).std() > 0
    save(figure, tmp_path / "figure.svg")
    texts = [text for text in figure.findobj(Text) if text.get_visible()]
    shown = [text for text in texts if text.get_text().strip("\u200b") == name]
    assert len(shown) == 5  # title, tick, annotation, legend, above all
    assert not any(text.get_parse_math() for text in shown)


def test_dollars_are_drawn():
    def width(words):
        figure = new_figure(4, 1, layout=None)
        figure.text(0, 0.5, words)
        return np.flatnonzero((pixels(figure, 60) < 200).any(axis=(0, 2))).max()

    assert width("$x$") > width("x") + 6


def test_powers_of_ten_stay_formulas():
    figure = _figure("a")
    pixels(figure, 60)
    (axes,) = figure.axes
    ticks = [tick for tick in axes.get_yticklabels() if tick.get_text()]
    assert ticks and all(tick.get_parse_math() for tick in ticks)
    assert any("10^{1}" in tick.get_text() for tick in ticks)
