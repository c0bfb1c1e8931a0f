"""The gradient flow as a section: drawing, heat maps, profile, chosen fork, table."""

import math

import numpy as np

from resseg.report.page import drawing, numbers
from resseg.report.page.document import Plot, csv_button, figure
from resseg.report.page.flow import (
    RECENT,
    Flow,
    fork_hash,
    labels,
    recent_share,
    recent_site,
)
from resseg.report.page.markup import EMPTY, Cell, Html, join, table, tag
from resseg.report.profile import KINDS
from resseg.report.timeline import Timeline, slope_per_block

_SPARK = 60  # points of a little line


def section(flow: Flow) -> Html:
    """Everything about the gradient, controls for the step and the fork first."""
    parts = [_intro(flow), _step_bar(flow), _drawing(flow)]
    if _of(flow, "block"):
        parts += [_heat("heat-blocks", "Residual blocks: depth × step", flow, "block")]
        parts.append(_profile(flow))
    if len(_of(flow, "block")) < len(flow.lines):
        parts.append(
            _heat("heat-others", "Long skips, pyramid and auxiliary paths", flow, "")
        )
        parts.append(_others(flow))
    parts += [_fork(flow), _tables(flow)]
    return join(parts)


def _of(flow: Flow, kind: str) -> list[Timeline]:
    return [line for line in flow.lines if line.kind == kind]


def _intro(flow: Flow) -> Html:
    slope = slope_per_block(flow.lines)
    told = ""
    if not math.isnan(slope):
        told = (
            f" Over depth the site norm changes ×{10**slope:.3g} per block, the first "
            "block to the last (least squares of geometric means over all steps)."
        )
    return tag(
        "p",
        "Where a signal parts into paths, each path sends a gradient back; both are "
        "measured in the backward pass of training. The ",
        tag("b", "site norm"),
        " is rms × loss pixels, so it means the same at every resolution; the ",
        tag("b", "share"),
        " of a path is its l2² over the sum of those of the fork's paths." + told,
    )


def _step_bar(flow: Flow) -> Html:
    last = len(flow.shown) - 1
    step = int(flow.steps[flow.shown[-1]])
    options = [
        tag("option", name, value=place)
        for place, name in enumerate(labels([line.name for line in flow.lines]))
    ]
    return tag(
        "div",
        tag("label", "Step", for_="step"),
        tag(
            "input",
            type="range",
            id="step",
            min=0,
            max=last,
            value=last,
            step=1,
            aria_valuetext=f"step {step:,}",
        ),
        tag("output", f"step {step:,}", id="step-told", for_="step"),
        tag("button", "▶ Play", type="button", id="play", aria_pressed="false"),
        tag("label", "Fork", for_="fork-menu"),
        tag("select", *options, id="fork-menu"),
        cls="controls bar-sticky",
    )


def _shown(flow: Flow) -> str:
    shown, all_ = len(flow.shown), len(flow.steps)
    if shown == all_:
        return f"All {numbers.plural(all_, 'logged step')}, one run."
    return (
        f"{shown:,} of {all_:,} logged steps, evenly spaced, with the first, the last "
        "and those where something happens; single steps, no means. One run."
    )


def _drawing(flow: Flow) -> Html:
    legend = tag(
        "p",
        tag("span", tag("span", cls="key"), "shortcut, skip, first path"),
        tag("span", tag("span", cls="key second"), "branch, deeper, other paths"),
        tag("span", tag("span", cls="key dead"), "gradient exactly 0"),
        cls="legend",
    )
    return tag(
        "figure",
        tag("h3", "The network as its forks"),
        tag(
            "div",
            drawing.draw(flow),
            cls="scroll",
            tabindex="0",
            role="region",
            aria_label="Drawing of the network",
        ),
        legend,
        tag(
            "figcaption",
            "Width = share of the gradient that the fork sends back over this path, at "
            f"the step above (without scripts: mean of the last {_recent(flow)} logged "
            "steps). Click a fork, or press Enter on it, to choose it everywhere. The "
            "table below holds the same numbers.",
        ),
    )


def _recent(flow: Flow) -> int:
    return min(RECENT, len(flow.steps))


def _views(flow: Flow, kind: str) -> Html:
    """What a heat map shows; one set of buttons for all of them."""
    if kind != "block" and _of(flow, "block"):
        return EMPTY
    lines = _of(flow, "block") or flow.lines
    first, second = lines[0].paths[0], lines[0].paths[-1]
    views = {
        "first": f"{first}",
        "second": f"{second}",
        "total": "sum of the paths",
        "share": f"share of the {first}",
    }
    buttons = [
        tag("button", words, type="button", data_view=view, aria_pressed="false")
        for view, words in views.items()
    ]
    options = [
        tag("option", "median of the blocks at the same step", value="step"),
        tag("option", "median of the picture", value="run"),
    ]
    return tag(
        "div",
        *buttons,
        tag("label", "0 =", for_="relative"),
        tag("select", *options, id="relative"),
        cls="controls",
        role="group",
        aria_label="What the heat maps show",
    )


def _heat(name: str, title: str, flow: Flow, kind: str) -> Html:
    lines = [line for line in flow.lines if (line.kind == "block") == (kind == "block")]
    dead = [
        f"{line.name} ({path})"
        for line in lines
        for place, path in enumerate(line.paths)
        if not line.site[place].any()
    ]
    told = f" Exactly 0 in every logged step: {', '.join(dead)}." if dead else ""
    return figure(
        Plot(
            name,
            title,
            "Colour: log10 of the site norm, relative to the median that is chosen "
            "above (0, the middle colour); blue is less, orange is more. Of the share: "
            "minus one half. ✕ on magenta: exactly 0. ▲: not finite. The first row is "
            f"next to the image. {_shown(flow)}",
            f"Heat map of {len(lines)} forks over the logged steps.{told} The table of "
            "forks below holds means.",
            "gradients",
            max(130, 66 + 20 * len(lines)),
            _views(flow, kind),
        )
    )


def _profile(flow: Flow) -> Html:
    blocks = _of(flow, "block")
    return figure(
        Plot(
            "profile",
            "Profile over depth at the chosen step",
            "Site norm of each block's paths and of their sum; the band is the lowest "
            "and the highest of the sum over the steps shown, no confidence interval. "
            "Below, the share of the first path. ✕: exactly 0.",
            f"Site norm over {len(blocks)} blocks: {_ends(blocks)}.",
            "gradients",
            460,
        )
    )


def _ends(blocks: list[Timeline]) -> str:
    first, last = blocks[0], blocks[-1]
    return (
        f"{numbers.number(recent_site(first.total))} at the first, {first.name}, "
        f"{numbers.number(recent_site(last.total))} at the last, {last.name}"
    )


def _others(flow: Flow) -> Html:
    lines = [line for line in flow.lines if line.kind != "block"]
    told = "; ".join(
        f"{line.name} {line.paths[0]} {numbers.percent(recent_share(line))}"
        for line in lines
    )
    return figure(
        Plot(
            "others",
            "Shares of long skips, pyramid and auxiliary paths at the chosen step",
            "Of a fork with two paths, the first; the other has the rest.",
            f"Mean shares at the end: {told}.",
            "gradients",
            70 + 24 * len(lines),
        )
    )


def _fork(flow: Flow) -> Html:
    return figure(
        Plot(
            "fork",
            "The chosen fork over training",
            "Site norm and share of each path, and the cosine between two. "
            "Thin lines: shares of the other forks of its kind. A value that is 0 or "
            f"not defined is left out. {_shown(flow)}",
            "Curves of the fork that is chosen above; the table of forks holds means.",
            "gradients",
            520,
            tag("p", "", id="fork-state", cls="soft", role="status"),
        )
    )


def _tables(flow: Flow) -> Html:
    parts = [
        tag(
            "p",
            tag("label", "Filter ", for_="fork-filter"),
            tag(
                "input",
                type="search",
                id="fork-filter",
                data_filter="fork-table",
                placeholder="stage3",
            ),
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
        f"means over the last {_recent(flow)} logged steps"
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
        _site(line, 1) if len(line.paths) == 2 else Cell(numbers.NOTHING, -1.0),
        Cell(numbers.percent(share), -1.0 if math.isnan(share) else share),
        Cell(spark(line.share[0]), -1.0 if math.isnan(share) else share),
        Cell(
            numbers.NOTHING if math.isnan(mean) else f"{mean:+.2f}",
            -2.0 if math.isnan(mean) else mean,
        ),
    ]


def _site(line: Timeline, place: int) -> Cell:
    if not line.site[place].any():
        return Cell("0 (dead)", 0.0, "dead")
    value = recent_site(line.site[place])
    return Cell(numbers.number(value), -1.0 if math.isnan(value) else value)


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
