"""What the probes say of themselves, and what they refuse."""

import re

import pandas as pd
import pytest

from resseg.cli.main import main
from resseg.cli.probe import SUMMARIES
from resseg.config.load import load_config
from resseg.errors import UserError
from resseg.figures import COLORS
from resseg.probes import figures, registry, subject


def changed(overrides, **keys):
    config = load_config("configs/quickstart.py", overrides | keys)
    return subject.at_init("tiny", config)


def test_the_help_lists_every_probe_in_a_line_of_its_own(capsys):
    with pytest.raises(SystemExit):
        main(["probe", "--help"])
    lines = capsys.readouterr().out.splitlines()
    assert set(SUMMARIES) == set(registry.PROBES)
    for name, text in SUMMARIES.items():
        assert f"  {name:<16} {text}" in lines


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--what", "signla"], "--what='signla': choose from .*did you mean 'signal'"),
        (
            ["--what", "profile", "--by", "clas"],
            "--by='clas': choose from class, bound",
        ),
        (["--what", "signal"], "nowhere is not a run folder"),
        ([], "--what is missing, expected some of signal, "),
    ],
)
def test_wrong_words_end_in_one_line(tmp_path, capsys, words, said):
    assert main(["probe", str(tmp_path / "nowhere"), *words]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert re.search(said, line)


@pytest.mark.parametrize("end", ["parquet", "png"])
def test_a_folder_where_a_file_is_to_go_is_found_first(tmp_path, capsys, end):
    (tmp_path / "probes" / f"rank.{end}").mkdir(parents=True)
    assert main(["probe", str(tmp_path), "--what", "signal,rank"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"rank.{end}: it is a folder, where a file is to go" in line


@pytest.mark.parametrize(
    ("low", "high", "labels"),
    [
        (1.5, 2.4, ["1.6", "1.8", "2", "2.2", "2.4"]),
        (3, 69, ["5", "10", "20", "50"]),
        (1e-5, 1e-2, ["$\\mathdefault{10^{-5}}$", "$\\mathdefault{10^{-3}}$"]),
    ],
)
def test_numbers_are_plain_on_a_short_logarithmic_axis(low, high, labels):
    def draw(table, figure):
        axes = figure.subplots()
        axes.plot(table["y"])
        axes.set_yscale("log")

    probe = registry.PROBES["signal"]._replace(draw=draw)
    figure = figures.figure_of(probe, pd.DataFrame({"y": [low, high]}))
    figure.draw_without_rendering()
    axis = figure.axes[0].yaxis
    shown = [tick.get_text() for tick in axis.get_ticklabels(which="both")]
    assert set(labels) <= set(shown)
    assert ("$" in "".join(shown)) == (high > 50 * low)
    assert figure.axes[0].lines[0].get_color() == COLORS[0]


@pytest.mark.parametrize("name", registry.PROBES)
def test_every_column_is_explained_and_the_short_table_shows_some(name):
    probe = registry.PROBES[name]
    names = [column.name for column in probe.columns]
    assert len(set(names)) == len(names) and probe.summary
    assert set(probe.printed) <= set(names)
    for column in probe.columns:
        assert column.meaning and column.dtype in ("int64", "float64", "str")


@pytest.mark.parametrize(
    ("overrides", "named"),
    [
        ({"model.gradient.shortcut": 0.5}, "config.model.gradient.shortcut=0.5"),
        ({"model.gradient.bypass": 1.0}, "config.model.gradient.bypass=1.0"),
        ({"model.gradient.long_skip": 0.5}, "config.model.gradient.long_skip=0.5"),
    ],
)
def test_curvature_of_a_scaled_graph_is_refused(smallest_overrides, overrides, named):
    """O16."""
    asked = changed(smallest_overrides, **overrides)
    assert asked.scaled_backward() == [named]
    with pytest.raises(UserError, match="gradient of no function"):
        registry.check(registry.PROBES["hessian"], "hessian", asked)


def test_a_factor_on_paths_that_are_not_there_scales_nothing(smallest_overrides):
    asked = changed(
        smallest_overrides,
        **{"model.head.name": "fcn", "model.gradient.long_skip": 0.5},
    )
    assert asked.scaled_backward() == []
    registry.check(registry.PROBES["hessian"], "hessian", asked)
