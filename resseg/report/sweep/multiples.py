"""Small multiples: gradient over depth, one little drawing per variant.

They are SVG in the page itself, so they are there on paper and without scripts too.
"""

import math
from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any, NamedTuple

from resseg.report.page import formatting
from resseg.report.page.document import csv_button
from resseg.report.page.markup import Html, join, tag
from resseg.report.sweep.bands import Band
from resseg.report.sweep.read import SweepReport, SweepVariant
from resseg.sweeps.scores import ROWS

_WIDTH, _HEIGHT = 260, 120  # of a drawing, its labels included
_LEFT, _RIGHT, _TOP, _BOTTOM = 40, 6, 8, 18


class Multiple(NamedTuple):
    """What is drawn of every variant.

    Attributes:
        name: of the data.
        band: of a variant.
        title, caption: of all drawings.
        unit: of the vertical axis.
        label: a value beside the axis.
        fixed: limits of the vertical axis; None = those of the data.
    """

    name: str
    band: Callable[[SweepVariant], Band | None]
    title: str
    caption: str
    unit: str
    label: Callable[[float], str]
    fixed: tuple[float, float] | None = None


def _power(value: float) -> str:
    """10^value, as people write it."""
    return f"{formatting.number(10**value, 2)}×"


MULTIPLES = (
    Multiple(
        "site",
        lambda variant: variant.site,
        "Norm over depth",
        "Gradient norm (site norm) of each block over that of the last block of the "
        "same run, log scale, the same in all drawings; 1× is the last block",
        "log10 of norm over last block",
        _power,
    ),
    Multiple(
        "share",
        lambda variant: variant.share,
        "Share that comes back over shortcuts",
        "Share of the squared gradient that each block's shortcut carries, 0 to 1",
        "share",
        lambda value: f"{value:g}",
        (0.0, 1.0),
    ),
)


def with_band(
    report: SweepReport, what: Multiple
) -> list[tuple[int, SweepVariant, Band]]:
    """The variants that have such a band, with their places."""
    bands = [what.band(variant) for variant in report.variants]
    return [
        (at, variant, band)
        for at, (variant, band) in enumerate(zip(report.variants, bands, strict=True))
        if band is not None
    ]


def caption(report: SweepReport, what: Multiple) -> str:
    """What is drawn, how many seeds, what the band is."""
    chosen = with_band(report, what)
    counts = [max(band.counts) for _, _, band in chosen]
    seeds = f"{min(counts)}"
    if max(counts) > min(counts):
        seeds += f" to {max(counts)}"
    paired = any(
        report.baseline_of(variant) for _, variant, _ in with_band(report, what)
    )
    own = " Dashed: its baseline." if paired else ""
    return (
        f"{what.caption}. First block left, last block right. Mean of the last {ROWS} "
        f"logged steps of each finished run; line = mean over the seeds ({seeds} per "
        f"drawing), band = lowest to highest seed, no interval.{own} A gap: some seed "
        "receives exactly 0 there, or what is not finite."
    )


def section(report: SweepReport, what: Multiple) -> Html:
    """All drawings; a sentence where no finished run logged gradients."""
    chosen = with_band(report, what)
    if not chosen:
        words = "No finished run has logged this."
        return join([tag("h3", what.title), tag("p", words, cls="soft")])
    low, high = limits(report, what)
    cards = [
        tag(
            "li",
            tag("p", f"{at + 1} · {variant.short}", title=variant.name),
            _svg(variant, band, baseline_band(report, variant, what), what, low, high),
            data_multiple=what.name,
        )
        for at, variant, band in chosen
    ]
    return join(
        [
            tag("h3", what.title),
            tag(
                "p",
                caption(report, what),
                " ",
                csv_button(what.name, what.title),
                cls="caption soft",
            ),
            tag("ul", *cards, cls="multiples"),
        ]
    )


def baseline_band(
    report: SweepReport, variant: SweepVariant, what: Multiple
) -> Band | None:
    """That of the variant that one is compared with; None without."""
    own = report.baseline_of(variant)
    return None if own is None else what.band(own)


def limits(report: SweepReport, what: Multiple) -> tuple[float, float]:
    """Of the vertical axis, which all drawings share."""
    if what.fixed is not None:
        return what.fixed
    values = [
        value
        for _, _, band in with_band(report, what)
        for value in (*band.low, *band.high)
        if math.isfinite(value)
    ]
    low, high = min([*values, 0.0]), max([*values, 0.0])
    return (low - 0.05, high + 0.05) if high - low < 0.1 else (low, high)


def data(report: SweepReport, what: Multiple) -> dict[str, Any]:
    """What is drawn, in long form."""
    rows = [
        [at, *point]
        for at, _, band in with_band(report, what)
        for point in zip(*band, strict=True)
    ]
    head = ["variant", "block", "seeds", what.unit, "lowest", "highest"]
    return {"columns": head, "rows": rows}


def _svg(
    variant: SweepVariant, band: Band, own: Band | None, what: Multiple, *ends: float
) -> Html:
    low, high = ends

    def across(at: int, count: int) -> float:
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * at / max(count - 1, 1)

    def down(value: float) -> float:
        part = (value - low) / (high - low)
        return _HEIGHT - _BOTTOM - (_HEIGHT - _TOP - _BOTTOM) * part

    def points(values: Sequence[float]) -> list[list[tuple[float, float]]]:
        """Pieces of a line that are whole."""
        count = len(values)
        pieces = groupby(enumerate(values), key=lambda each: math.isfinite(each[1]))
        return [
            [(across(at, count), down(value)) for at, value in piece]
            for known, piece in pieces
            if known
        ]

    parts = [_frame(low, high, down, what)]
    for lower, upper in zip(points(band.low), points(band.high), strict=True):
        shape = _pairs([*lower, *reversed(upper)])
        parts.append(tag("polygon", points=shape, cls="band"))
    if own is not None:
        parts += [
            tag("polyline", points=_pairs(piece), cls="own")
            for piece in points(own.mean)
        ]
    for piece in points(band.mean):
        parts.append(tag("polyline", points=_pairs(piece), cls="mean"))
        parts += [
            tag("circle", cx=f"{x:.1f}", cy=f"{y:.1f}", r="1.8") for x, y in piece
        ]
    names = (band.places[0], band.places[-1])
    parts.append(tag("text", names[0], x=_LEFT, y=_HEIGHT - 4))
    right = _WIDTH - _RIGHT
    parts.append(tag("text", names[-1], x=right, y=_HEIGHT - 4, text_anchor="end"))
    return tag(
        "svg",
        *parts,
        viewBox=f"0 0 {_WIDTH} {_HEIGHT}",
        role="img",
        aria_label=_alternative(variant, band, what),
    )


def _frame(
    low: float, high: float, down: Callable[[float], float], what: Multiple
) -> Html:
    ticks = [low, high] if what.fixed else sorted({low, 0.0, high})
    apart = [t for t in ticks if t in (low, high) or min(t - low, high - t) > 0.15]
    parts = []
    for tick in apart:
        y = f"{down(tick):.1f}"
        parts.append(tag("line", x1=_LEFT, x2=_WIDTH - _RIGHT, y1=y, y2=y, cls="rule"))
        label = what.label(tick)
        y = f"{down(tick) + 3:.1f}"
        parts.append(tag("text", label, x=_LEFT - 4, y=y, text_anchor="end"))
    return join(parts)


def _pairs(points: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)


def _alternative(variant: SweepVariant, band: Band, what: Multiple) -> str:
    first, last = band.mean[0], band.mean[-1]
    ends = [
        f"{what.label(value) if math.isfinite(value) else 'not defined'} at {place}"
        for value, place in ((first, band.places[0]), (last, band.places[-1]))
    ]
    return f"{what.title}, {variant.short}: {' to '.join(ends)}"
