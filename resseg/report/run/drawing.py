"""The network drawn as its forks, from the gradient log alone.

Left to right as the signal goes. A block is a straight branch with its shortcut bowed
over it; a long skip runs over everything it skips to where the head merges it; the
paths of a pyramid fan out; an auxiliary path turns down. The width of a path is its
share of the gradient that its fork sends back.
"""

from collections.abc import Sequence
from typing import NamedTuple

from resseg.gradient_log.timeline import Timeline
from resseg.report.page import formatting
from resseg.report.page.markup import EMPTY, Html, join, tag
from resseg.report.run.flow import Flow, labels, recent_share, recent_site, stage_of

_BLOCK, _NODE, _FAN, _MERGE, _GAP = 46, 16, 120, 34, 14  # pixels along the signal
_BOW, _LEVEL, _BELOW = 34, 20, 64  # pixels across it
_THIN, _WIDE = 1.0, 8.0  # stroke of a share of 0, and how much wider one of 1 is


class _PlacedFork(NamedTuple):
    line: Timeline
    label: str
    left: float
    right: float
    next: float  # where the following fork begins


def draw(flow: Flow) -> Html:
    """The drawing, shares being means over the last logged steps."""
    names = labels([line.name for line in flow.lines])
    placed, end = _place(flow.lines, names)
    skips = [each for each in placed if each.line.kind == "long_skip"]
    fan = max(
        (len(e.line.paths) for e in placed if e.line.kind == "pyramid"), default=0
    )
    clear = max(_BOW + 16, 12 * fan + 16)  # what the lowest long skip runs over
    above = clear + _LEVEL * max(len(skips) - 1, 0) + 10
    height = above + max(_BELOW, 12 * fan + 24)
    merges = {
        skip.line.name: end + _MERGE * (number + 0.5)
        for number, skip in enumerate(reversed(skips))
    }
    after = end + _MERGE * len(skips)
    width = after + 62
    parts = [
        _stages(placed, above),
        _wire(34, after + 8, above),
        _box(4, above, "image"),
        _box(after + 8, above, "logits"),
    ]
    for level, skip in enumerate(skips):
        top = above - clear - _LEVEL * (len(skips) - 1 - level)
        parts.append(_skip(skip, merges[skip.line.name], above, top))
    for each in placed:
        draw_kind = {"block": _block, "pyramid": _pyramid, "auxiliary": _auxiliary}
        if each.line.kind in draw_kind:
            parts.append(draw_kind[each.line.kind](each, above))
    parts += [_ring(x, above) for x in merges.values()]
    return tag(
        "svg",
        *parts,
        viewBox=f"0 0 {width:g} {height:g}",
        style=f"min-width: {0.85 * width:.0f}px; max-width: {1.7 * width:.0f}px",
        role="group",
        aria_label="The network as its forks, left to right from image to logits",
        id="drawing",
    )


def _place(
    lines: Sequence[Timeline], names: Sequence[str]
) -> tuple[list[_PlacedFork], float]:
    """The forks along the signal, and where the last one ends."""
    sizes = {"block": _BLOCK, "pyramid": _FAN, "auxiliary": 2 * _NODE}
    spans, x, stage = [], 52.0, ""
    for line in lines:
        if line.kind == "block" and stage_of(line.name) != stage:
            stage = stage_of(line.name)
            x += _GAP
        right = x + sizes.get(line.kind, _NODE)
        spans.append((x, right))
        x = right + 6
    nexts = [left for left, _ in spans[1:]] + [x + 6]
    placed = [
        _PlacedFork(line, name, left, right, after)
        for line, name, (left, right), after in zip(
            lines, names, spans, nexts, strict=True
        )
    ]
    return placed, x + 6


def _stages(placed: Sequence[_PlacedFork], y: float) -> Html:
    """A pale ground and a name under the blocks of each stage."""
    groups: dict[str, list[_PlacedFork]] = {}
    for each in placed:
        if each.line.kind == "block":
            groups.setdefault(stage_of(each.line.name), []).append(each)
    parts = []
    for name, group in groups.items():
        left, right = group[0].left - 7, group[-1].right + 7
        ground = {"x": left, "y": y - _BOW - 6, "width": right - left}
        parts.append(
            tag("rect", **ground, height=_BOW + 46, rx=5, cls="stage", fill="none")
        )
        short = name if len(name) <= 24 else name[:23] + "…"
        parts.append(_text((left + right) / 2, y + 54, short, "stage-name"))
        parts += [
            _text((e.left + e.right) / 2, y + 32, e.line.name.rpartition("/")[2][-9:])
            for e in group
        ]
    return join(parts)


def _fork(
    each: _PlacedFork, box: tuple[float, float, float, float], *parts: Html
) -> Html:
    """What can be chosen: the paths of a fork, its node, and a place to click on."""
    x, y, width, height = box
    line = each.line
    shares = ", ".join(
        f"{path} {formatting.percent(recent_share(line, place))}"
        for place, path in enumerate(line.paths)
    )
    return tag(
        "g",
        tag("title", f"{line.name}: {shares} of the gradient"),
        tag("rect", x=x, y=y, width=width, height=height, rx=4, cls="hit"),
        *parts,
        cls="fork",
        tabindex="0",
        role="button",
        aria_pressed="false",
        data_fork=line.name,
        aria_label=f"{line.name}: {shares} of the gradient",
    )


def _edge(line: Timeline, place: int, way: str) -> Html:
    share = recent_share(line, place)
    dead = recent_site(line.site[place]) == 0
    width = _THIN + _WIDE * min(max(share, 0.0), 1.0) if share == share else _THIN
    return tag(
        "path",
        d=way,
        fill="none",
        cls=f"edge path-{min(place, 1)}{' dead' if dead else ''}",
        data_place=place,
        stroke_width=f"{width:.2f}",
    )


def _block(each: _PlacedFork, y: float) -> Html:
    left, right = each.left, each.right
    middle = (left + right) / 2
    bow = f"M{left:g} {y:g} C{left:g} {y - _BOW * 1.3:g} {right:g} {y - _BOW * 1.3:g} "
    return _fork(
        each,
        (left - 5, y - _BOW - 4, right - left + 10, _BOW + 26),
        _edge(each.line, 0, f"{bow}{right:g} {y:g}"),
        _edge(each.line, 1, f"M{left:g} {y:g} H{right:g}") if _second(each) else EMPTY,
        tag("rect", x=middle - 8, y=y - 6, width=16, height=12, rx=2, cls="operation"),
        _node(left, y),
        _ring(right, y),
    )


def _skip(each: _PlacedFork, to: float, y: float, top: float) -> Html:
    x, r = (each.left + each.right) / 2, 8
    way = (
        f"M{x:g} {y:g} V{top + r:g} Q{x:g} {top:g} {x + r:g} {top:g} "
        f"H{to - r:g} Q{to:g} {top:g} {to:g} {top + r:g} V{y:g}"
    )
    return _fork(
        each,
        (x - 9, top - 6, 18, y - top + 16),
        _edge(each.line, 0, way),
        _edge(each.line, 1, f"M{x:g} {y:g} H{each.next:g}") if _second(each) else EMPTY,
        _node(x, y),
    )


def _pyramid(each: _PlacedFork, y: float) -> Html:
    left, right = each.left, each.right
    count = len(each.line.paths)
    edges, names = [], []
    for place, path in enumerate(each.line.paths):
        level = y + 24 * (place - (count - 1) / 2)
        a, b = left + 24, right - 24
        way = (
            f"M{left:g} {y:g} C{a:g} {y:g} {left + 8:g} {level:g} {a + 8:g} {level:g} "
            f"H{b - 8:g} C{right - 8:g} {level:g} {b:g} {y:g} {right:g} {y:g}"
        )
        edges.append(_edge(each.line, place, way))
        names.append(_text((left + right) / 2, level - 6, path[:14]))
    box = (left - 5, y - 12 * count - 4, right - left + 10, 24 * count + 8)
    # Names stand beside the group: its label says them, with the numbers.
    fork = _fork(each, box, *edges, _node(left, y), _ring(right, y))
    return join([fork, *names])


def _auxiliary(each: _PlacedFork, y: float) -> Html:
    x = each.left + _NODE / 2
    down = f"M{x:g} {y:g} V{y + 18:g} Q{x:g} {y + 24:g} {x + 8:g} {y + 24:g}"
    fork = _fork(
        each,
        (x - 9, y - 10, 34, 44),
        _edge(each.line, 0, down),
        _edge(each.line, 1, f"M{x:g} {y:g} H{each.next:g}") if _second(each) else EMPTY,
        _node(x, y),
    )
    return join([fork, _text(x + 18, y + 28, "aux")])


def _second(each: _PlacedFork) -> bool:
    return len(each.line.paths) > 1


def _wire(left: float, right: float, y: float) -> Html:
    return tag("path", d=f"M{left:g} {y:g} H{right:g}", cls="wire", fill="none")


def _node(x: float, y: float) -> Html:
    return tag("circle", cx=f"{x:g}", cy=f"{y:g}", r=3.5, cls="node")


def _ring(x: float, y: float) -> Html:
    return tag("circle", cx=f"{x:g}", cy=f"{y:g}", r=4, cls="ring")


def _box(x: float, y: float, name: str) -> Html:
    ground = tag("rect", x=x, y=y - 12, width=40, height=24, rx=4, cls="end")
    return join([ground, _text(x + 20, y + 3.5, name)])


def _text(x: float, y: float, words: str, cls: str = "name") -> Html:
    return tag("text", words, x=f"{x:g}", y=f"{y:g}", text_anchor="middle", cls=cls)
