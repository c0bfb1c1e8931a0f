"""The forks of a run as a table that is linked to the figures."""

import math

import numpy as np

from resseg.gradient_log.summary import KINDS
from resseg.gradient_log.timeline import Timeline
from resseg.report.page import formatting
from resseg.report.page.document import csv_button, filter_field
from resseg.report.page.markup import Cell, Html, join, table, tag
from resseg.report.run.flow import RECENT, Flow, fork_hash, recent_share, recent_site

_SPARK = 60  # points of a little line


def fork_table(flow: Flow) -> Html:
    """Norms, shares and cosine of every fork, with a filter above."""
    parts = [
        tag(
            "p",
            filter_field("fork-filter", "fork-table", example="stage3"),
            " ",
            csv_button("gradients", "the gradient log"),
            cls="controls",
        )
    ]
    rows, attributes = [], []
    for place, line in enumerate(flow.lines):
        rows.append(_row(line, flow.cosine[place]))
        attributes.append({"data_fork": line.name})
    words = (
        f"All forks in depth order; site norms: geometric means, shares and cosines: "
        f"means over the last {min(RECENT, len(flow.steps))} logged steps"
    )
    parts.append(
        table(
            words,
            [
                "fork",
                "kind",
                "paths",
                "site norm, 1st",
                "site norm, 2nd",
                "share, 1st",
                "share over training",
                "cosine",
            ],
            rows,
            text_columns=3,
            attributes=attributes,
            id_="fork-table",
        )
    )
    return join(parts)


def _row(line: Timeline, cosine: np.ndarray) -> list[Cell]:
    share = recent_share(line)
    angle = cosine[-RECENT:]
    angle = angle[np.isfinite(angle)]
    mean = float(angle.mean()) if angle.size else math.nan
    return [
        Cell(tag("a", line.name, href=fork_hash(line.name)), line.depth),
        Cell(KINDS[line.kind].lower()),
        Cell(", ".join(line.paths)),
        _site(line, 0),
        _site(line, 1) if len(line.paths) == 2 else Cell(formatting.NOTHING, -1.0),
        Cell(formatting.percent(share), -1.0 if math.isnan(share) else share),
        Cell(spark(line.share[0]), -1.0 if math.isnan(share) else share),
        Cell(
            formatting.NOTHING if math.isnan(mean) else f"{mean:+.2f}",
            -2.0 if math.isnan(mean) else mean,
        ),
    ]


def _site(line: Timeline, place: int) -> Cell:
    if not line.site[place].any():
        return Cell("0 (dead)", 0.0, "dead")
    value = recent_site(line.site[place])
    return Cell(formatting.number(value), -1.0 if math.isnan(value) else value)


def spark(values: np.ndarray) -> Html:
    """A share over the steps as a little line, 0 at the bottom and 1 at the top."""
    places = np.linspace(0, len(values) - 1, min(_SPARK, len(values))).astype(int)
    words, lifted = [], True
    for x, value in enumerate(values[places]):
        if not np.isfinite(value):
            lifted = True
            continue
        y = 19 - 18 * min(max(float(value), 0.0), 1.0)
        words.append(f"{'M' if lifted else 'L'}{x} {y:.1f}")
        lifted = False
    return tag(
        "svg",
        tag("path", d=" ".join(words)),
        cls="spark",
        viewBox=f"0 0 {max(len(places) - 1, 1)} 20",
        preserveAspectRatio="none",
        aria_hidden="true",
    )
