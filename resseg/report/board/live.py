"""Pages that ask for their next version."""

import base64
import hashlib
import html

from resseg.report.page import assets
from resseg.report.page.markup import Html, tag

_SCRIPT = "live.js"


def make_live(page: str, version: str, every: float) -> str:
    """A page with a script that loads it again once its version is another.

    Args:
        page: as `document.render` makes it.
        version: of this page.
        every: seconds between two questions.

    Raises:
        ValueError: it is no such page.
    """
    script = assets.text(_SCRIPT)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    nothing = html.escape("default-src 'none'; ")
    allowed = html.escape("default-src 'none'; connect-src 'self'; ")
    page = _replace(page, nothing, allowed)
    source = html.escape(f"script-src 'sha256-{digest}' ")
    page = _replace(page, "script-src ", source)
    told = tag("meta", name="board", content=f"{version} {every:g}")
    page = _replace(page, "</head>", f"{told}</head>")
    before, end, after = page.rpartition("</body>")
    if not end:
        raise ValueError("the page has no body")
    return f"{before}<script>{script}</script>{end}{after}"


def _replace(page: str, old: str, new: str) -> str:
    """The first one; all that a name could hold is escaped, or comes later."""
    if old not in page:
        raise ValueError(f"the page has no {old}")
    return page.replace(old, new, 1)


def plain(title: str, *texts: str, seconds: int) -> str:
    """A small page that loads itself again after some seconds."""
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="refresh", content=seconds),
        tag(
            "meta",
            http_equiv="Content-Security-Policy",
            content="default-src 'none'; style-src 'unsafe-inline'",
        ),
        tag("meta", name="color-scheme", content="light dark"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("title", title),
        Html(
            "<style>body{font:16px/1.5 system-ui,sans-serif;margin:4rem auto;"
            "max-width:40rem;padding:0 1rem;overflow-wrap:anywhere}</style>"
        ),
    )
    body = tag("body", tag("h1", title), *[tag("p", text) for text in texts])
    return f"<!doctype html>\n{tag('html', head, body, lang='en')}\n"
