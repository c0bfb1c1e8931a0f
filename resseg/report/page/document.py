"""The HTML document: one file, no network, nothing runs that is not ours."""

import base64
import hashlib
from collections.abc import Sequence
from typing import Any, NamedTuple

from resseg.report.page import assets
from resseg.report.page.markup import EMPTY, Html, escape, join, json_block, tag

DATA = "page-data"  # id of the block that holds the data


class Section(NamedTuple):
    """A part of a page, with an entry in its navigation."""

    id: str
    title: str
    body: Html


class Plot(NamedTuple):
    """A figure that a script draws.

    Attributes:
        id: of the figure; scripts know it by this name.
        title: heading.
        caption: what it shows, how many steps or seeds, what an interval is.
        alternative: the same in words for those who do not see it.
        csv: name of its data in the page's tables, or "gradients"; "" = no download.
        height: pixels, before a script knows better.
        controls: above it.
    """

    id: str
    title: str
    caption: str | Html
    alternative: str
    csv: str = ""
    height: int = 320
    controls: Html = EMPTY


class Fact(NamedTuple):
    """A number at the top of a page.

    Attributes:
        name: what it is.
        value: as it is shown.
        note: below it, small; "" = none.
        main: whether it is the one that a reader looks for.
    """

    name: str
    value: str
    note: str | Html = ""
    main: bool = False


def fact_list(facts: Sequence[Fact]) -> Html:
    """The numbers at the top of a page, beside each other."""
    items = [
        tag(
            "div",
            tag("dt", fact.name),
            tag("dd", fact.value, tag("small", fact.note) if fact.note else None),
            cls="main" if fact.main else None,
        )
        for fact in facts
    ]
    return tag("dl", *items, cls="facts")


def figure(plot: Plot) -> Html:
    """The frame of a plot: heading, controls, place, caption, download."""
    download = None
    if plot.csv:
        download = csv_button(plot.csv, f"data of {plot.title}")
    return tag(
        "figure",
        tag("h3", plot.title),
        plot.controls or None,
        tag(
            "div",
            tag("p", "This figure is drawn by a script.", cls="placeholder"),
            cls="plot",
            id=plot.id,
            role="img",
            aria_label=plot.alternative,
            style=f"min-height: {plot.height}px",
        ),
        tag("figcaption", plot.caption, " " if download else None, download),
        data_plot=plot.id,
    )


def filter_field(
    name: str, table: str, words: str = "Filter ", example: str | None = None
) -> Html:
    """A field that leaves the rows of a table that hold what is typed into it.

    Args:
        name: of the field, unlike that of any other.
        table: id of the table.
        words: in front.
        example: stands in it while it is empty.
    """
    field = tag("input", type="search", id=name, data_filter=table, placeholder=example)
    return join([tag("label", words, for_=name), field])


def csv_button(name: str, what: str) -> Html:
    """Downloads a table of the page's data as CSV."""
    return tag(
        "button",
        "CSV",
        type="button",
        cls="csv",
        data_csv=name,
        aria_label=f"Download as CSV: {what}",
    )


def render(
    title: str,
    header: Html,
    sections: Sequence[Section],
    data: Any,
    scripts: Sequence[str],
    *,
    styles: Sequence[str] = (),
    live: str = "",
    footer: Html = EMPTY,
) -> str:
    """The whole file.

    Args:
        title: of the window.
        header: what stands above all sections, its h1 included.
        sections: in order.
        data: plain values, for the scripts; its `tables` can be downloaded, each
            `{"columns": names, "rows": lists}`.
        scripts: names of assets that draw, run in order after plotly and page.js.
        styles: names of assets that add to page.css.
        live: version of this page and seconds between two questions whether there is
            another, as in "3f2a 5"; it then loads itself again. "" = it asks nobody.
        footer: below all sections.
    """
    names = ["page.js", *scripts, *(["live.js"] if live else [])]
    code = [assets.plotly(), *map(assets.text, names)]
    blocks = [_script(source) for source in code]
    style = "".join(map(assets.text, ["page.css", *styles]))
    first = assets.text("theme.js")
    policy = "; ".join(
        [
            "default-src 'none'",
            "style-src 'unsafe-inline'",
            f"script-src {' '.join(_hash(source) for source in [first, *code])}",
            *(["connect-src 'self'"] if live else []),
            "img-src data: blob:",
            "font-src data:",
            "base-uri 'none'",
            "form-action 'none'",
        ]
    )
    links = [tag("li", tag("a", s.title, href=f"#{s.id}")) for s in sections]
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=policy),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="generator", content="resseg report"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("meta", name="live", content=live) if live else None,
        tag("title", title),
        _script(first),
        Html(f"<style>{style}</style>"),
    )
    body = tag(
        "body",
        tag("a", "Skip to the content", href="#content", cls="skip"),
        tag(
            "nav",
            tag("ul", *links),
            tag("button", "Dark", type="button", id="theme", hidden=True),
            aria_label="Sections",
        ),
        tag("header", header),
        tag(
            "main",
            tag(
                "noscript",
                tag(
                    "p",
                    "Scripts are off: tables and the drawing of the network are here, "
                    "curves and heat maps are not.",
                    cls="note",
                ),
            ),
            *[_section(section) for section in sections],
            id="content",
        ),
        tag("footer", footer, _licence()),
        json_block(DATA, data),
        *blocks,
    )
    return f"<!doctype html>\n{tag('html', head, body, lang='en')}\n"


def _section(section: Section) -> Html:
    heading = f"{section.id}-title"
    return tag(
        "section",
        tag("h2", section.title, id=heading),
        section.body,
        id=section.id,
        aria_labelledby=heading,
    )


def _licence() -> Html:
    library = assets.notice()
    return tag(
        "p",
        f"Figures by plotly.js {library['version']} (MIT), embedded. This file loads "
        "nothing from anywhere.",
    )


def _script(source: str) -> Html:
    """A script of ours.

    Raises:
        ValueError: it holds text that would end it early.
    """
    if "</script" in source.lower() or "<!--" in source:
        raise ValueError("a script may hold neither </script nor <!--")
    return Html(f"<script>{source}</script>")


def _hash(source: str) -> str:
    digest = hashlib.sha256(source.encode("utf-8")).digest()
    return f"'sha256-{base64.b64encode(digest).decode('ascii')}'"


def paragraphs(*texts: str | Html) -> Html:
    """One paragraph each."""
    return Html("".join(tag("p", escape(text)) for text in texts))
