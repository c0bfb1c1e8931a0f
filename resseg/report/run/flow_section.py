"""The gradient flow as a section: drawing, heat maps, profile, chosen fork, table."""

import math

from resseg.gradient_log.timeline import Timeline, slope_per_block
from resseg.report.page import formatting
from resseg.report.page.document import Plot, csv_button, figure
from resseg.report.page.markup import EMPTY, Html, join, tag
from resseg.report.run import drawing
from resseg.report.run.flow import RECENT, Flow, labels, recent_share, recent_site
from resseg.report.run.fork_table import fork_table


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
    parts += [_fork(flow), fork_table(flow)]
    return join(parts)


def _of(flow: Flow, kind: str) -> list[Timeline]:
    return [line for line in flow.lines if line.kind == kind]


def _intro(flow: Flow) -> Html:
    slope = slope_per_block(flow.lines)
    slope_words = ""
    if not math.isnan(slope):
        slope_words = (
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
        " of a path is its l2² over the sum of those of the fork's paths."
        + slope_words,
    )


def _step_bar(flow: Flow) -> Html:
    last = len(flow.kept) - 1
    step = int(flow.steps[flow.kept[-1]])
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
        tag("output", f"step {step:,}", id="step-value", for_="step"),
        tag("button", "▶ Play", type="button", id="play", aria_pressed="false"),
        tag("label", "Fork", for_="fork-menu"),
        tag("select", *options, id="fork-menu"),
        cls="controls bar-sticky",
    )


def _which_steps(flow: Flow) -> str:
    some, all_ = len(flow.kept), len(flow.steps)
    if some == all_:
        return f"All {formatting.plural(all_, 'logged step')}, one run."
    return (
        f"{some:,} of {all_:,} logged steps, evenly spaced, with the first, the last "
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
            "table below holds the same numbers. ",
            csv_button("gradients", "the gradient log"),
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
    scales = [
        tag("option", "two-way, 0 in the middle", value="diverging"),
        tag("option", "one-way, for reading in grey", value="grey"),
    ]
    return tag(
        "div",
        *buttons,
        tag("label", "0 =", for_="relative"),
        tag("select", *options, id="relative"),
        tag("label", "colours", for_="scale"),
        tag("select", *scales, id="scale"),
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
    zeros = f" Exactly 0 in every logged step: {', '.join(dead)}." if dead else ""
    return figure(
        Plot(
            name,
            title,
            "Colour: log10 of the site norm, relative to the median that is chosen "
            "above (0, the middle colour); blue is less, orange is more. Of the share: "
            "minus one half. ✕ on magenta: exactly 0. ▲: not finite. The first row is "
            f"next to the image. {_which_steps(flow)}",
            f"Heat map of {len(lines)} forks over the logged steps.{zeros} The table "
            "of forks below holds means.",
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
        f"{formatting.number(recent_site(first.total))} at the first, {first.name}, "
        f"{formatting.number(recent_site(last.total))} at the last, {last.name}"
    )


def _others(flow: Flow) -> Html:
    lines = [line for line in flow.lines if line.kind != "block"]
    shares = "; ".join(
        f"{line.name} {line.paths[0]} {formatting.percent(recent_share(line))}"
        for line in lines
    )
    return figure(
        Plot(
            "others",
            "Shares of long skips, pyramid and auxiliary paths at the chosen step",
            "Of a fork with two paths, the first; the other has the rest.",
            f"Mean shares at the end: {shares}.",
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
            f"not defined is left out. {_which_steps(flow)}",
            "Curves of the fork that is chosen above; the table of forks holds means.",
            "gradients",
            520,
            tag("p", "", id="fork-state", cls="soft", role="status"),
        )
    )
