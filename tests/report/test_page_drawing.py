"""The network drawn as its forks, and numbers as a reader wants them."""

import re

import numpy as np
import pytest

from resseg.report.page import formatting
from resseg.report.run.drawing import draw
from resseg.report.run.flow import fork_hash, read_flow
from resseg.report.run.fork_table import spark
from resseg.runs import open_run


@pytest.fixture(scope="module")
def drawing(planted_run):
    flow = read_flow(open_run(planted_run))
    assert flow is not None
    return draw(flow)


def groups(drawing):
    """The markup of each fork, by its name."""
    found = re.findall(r'<g class="fork".*?data-fork="(.*?)".*?</g>', drawing)
    whole = re.findall(r'<g class="fork".*?</g>', drawing)
    return dict(zip(found, whole, strict=True))


def test_every_fork_can_be_reached_and_says_its_numbers(drawing):
    forks = groups(drawing)
    assert len(forks) == 9
    for name, markup in forks.items():
        assert 'tabindex="0" role="button"' in markup
        assert f'aria-label="{name}: ' in markup
    told = forks["backbone/stage1/block1"]
    assert "shortcut 25 %, branch 75 % of the gradient" in told


def test_widths_are_shares_and_dead_paths_are_marked(drawing):
    forks = groups(drawing)
    widths = re.findall(r'stroke-width="([\d.]+)"', forks["backbone/stage1/block1"])
    assert [float(width) for width in widths] == [1 + 8 * 0.25, 1 + 8 * 0.75]
    assert forks["backbone/stage2/block1"].count(" dead") == 1
    assert sum(markup.count(" dead") for markup in forks.values()) == 1


def test_a_pyramid_has_an_edge_per_path(drawing):
    assert groups(drawing)["head/pyramid"].count("<path") == 3
    for name in ("1x1", "rate6", "image"):
        assert f">{name}</text>" in drawing


def test_blocks_stand_left_to_right_in_their_stages(drawing):
    lefts = []
    for name, markup in groups(drawing).items():
        if "/block" in name:
            circle = re.search(r'<circle cx="([\d.]+)"', markup)
            assert circle is not None
            lefts.append(float(circle[1]))
    assert len(lefts) == 6 and lefts == sorted(lefts)
    assert re.findall(r'class="stage-name">(\w+)<', drawing) == [
        "stage1",
        "stage2",
        "stage3",
    ]


def test_addresses_hold_any_name():
    assert fork_hash("a/b&c", "p=q", 3) == "#fork=a%2Fb%26c&path=p%3Dq&step=3"


def test_little_lines_break_where_nothing_is_defined():
    assert 'd="M0 19.0 M2 1.0"' in spark(np.array([0.0, np.nan, 1.0]))


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (formatting.number(0.0012345), "0.00123"),
        (formatting.number(1.5e-9), "1.5e-9"),
        (formatting.number(float("nan")), "–"),
        (formatting.percent(0.0), "0 %"),
        (formatting.percent(2e-7), "2e-5 %"),
        (formatting.percent(0.4567), "45.7 %"),
        (formatting.large(505_231), "0.505 M"),
        (formatting.large(3.2e9), "3.2 G"),
        (formatting.large(None), "not recorded"),
        (formatting.duration(42.0), "42 s"),
        (formatting.duration(3725.0), "62 min"),
        (formatting.duration(7500.0), "2 h 05 min"),
        (formatting.plural(1, "step"), "1 step"),
        (formatting.shorten("x" * 50, 10), "xxxxxxxxx…"),
    ],
)
def test_numbers_read_well(shown, expected):
    assert shown == expected
