"""HTML as text. What goes into it is escaped here, and nowhere else.

Children and attributes of `tag` are escaped unless they are `Html`, which only the
functions of this module make. So a name from a run folder can never become markup.
"""

import html
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

_VOID = ("br", "col", "img", "input", "link", "meta")
# In JSON these can end a script block, or a line of script.
_IN_SCRIPT = {char: f"\\u{ord(char):04x}" for char in "<>&\u2028\u2029"}
_DIGITS = 6  # significant digits of a number in a data block


class Html(str):
    """Markup: escaped already."""

    __slots__ = ()


Child = str | int | float | None
EMPTY = Html("")


def escape(text: object) -> Html:
    """Text as markup; Html stays what it is."""
    return text if isinstance(text, Html) else Html(html.escape(str(text)))


def join(parts: Iterable[Child], between: str = "") -> Html:
    """Parts one after the other; None is left out."""
    return Html(html.escape(between).join(escape(p) for p in parts if p is not None))


def tag(name: str, /, *children: Child, **attributes: object) -> Html:
    """An element.

    Args:
        name: of the element.
        children: text, which is escaped, or Html; None is left out.
        attributes: `cls` is class, a last underscore is dropped, others become
            hyphens; None and False leave the attribute out, True gives it no value.
    """
    words = [name]
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        key = "class" if key == "cls" else key.rstrip("_").replace("_", "-")
        words.append(key if value is True else f'{key}="{html.escape(str(value))}"')
    opening = f"<{' '.join(words)}>"
    if name in _VOID:
        return Html(opening)
    return Html(f"{opening}{join(children)}</{name}>")


class Cell(NamedTuple):
    """A cell of a table: what it shows, and what it is sorted by."""

    content: Child
    value: float | str | None = None
    cls: str | None = None
    title: str | None = None


def table(
    caption: str,
    head: Sequence[str],
    rows: Iterable[Sequence[Cell | Child]],
    *,
    text_columns: int = 1,
    attributes: Sequence[Mapping[str, object]] = (),
    sortable: bool = True,
    id_: str | None = None,
) -> Html:
    """A table that scripts can sort; it scrolls sideways where it is too wide.

    Args:
        caption: what it shows.
        head: names of the columns.
        rows: cells; the first of a row names it.
        text_columns: so many columns hold text, the others numbers.
        attributes: of each row.
        sortable: whether its heads are buttons once a script runs.
        id_: of the element.
    """
    titles = [
        tag("th", name, scope="col", cls=None if at < text_columns else "number")
        for at, name in enumerate(head)
    ]
    body = []
    for at, row in enumerate(rows):
        cells = [_cell(cell, place, text_columns) for place, cell in enumerate(row)]
        body.append(tag("tr", *cells, **(attributes[at] if attributes else {})))
    inner = tag(
        "table",
        tag("caption", caption),
        tag("thead", tag("tr", *titles)),
        tag("tbody", *body),
        cls="sortable" if sortable else None,
        id=id_,
    )
    return tag(
        "div", inner, cls="scroll", tabindex="0", role="region", aria_label=caption
    )


def _cell(cell: Cell | Child, place: int, text_columns: int) -> Html:
    cell = cell if isinstance(cell, Cell) else Cell(cell)
    classes = " ".join(
        filter(None, ("number" if place >= text_columns else "", cell.cls or ""))
    )
    more = {
        "cls": classes or None,
        "title": cell.title,
        "data_value": "" if cell.value is None else cell.value,
    }
    if cell.value is None:
        del more["data_value"]
    if place == 0:
        return tag("th", cell.content, scope="row", **more)
    return tag("td", cell.content, **more)


def json_block(id_: str, value: Any) -> Html:
    """Data for scripts, in a block that no text in it can end."""
    text = json.dumps(plain(value), ensure_ascii=False, separators=(",", ":"))
    for char, code in _IN_SCRIPT.items():
        text = text.replace(char, code)
    return Html(
        f'<script type="application/json" id="{html.escape(id_)}">{text}</script>'
    )


def plain(value: Any) -> Any:
    """For JSON: arrays as lists, numbers to six digits, what is not finite as null."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float):
        if not math.isfinite(value):
            return None
        short = float(f"{value:.{_DIGITS}g}")
        return int(short) if short.is_integer() and abs(short) < 1e9 else short
    return value
