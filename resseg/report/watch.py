"""A page that is made again when what it shows has changed."""

import hashlib
import threading
import time
from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import NamedTuple

from resseg.errors import UserError
from resseg.report.page.files import write
from resseg.report.pages import Place, fingerprint, render, scan

EVERY = 5.0  # seconds between two looks at a folder
_KEPT = 20  # pages in memory
# Small, allowed nothing, and loads itself again.
_APOLOGY = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta http-equiv="refresh" content="{seconds:.0f}">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<style>body {{ font: 16px/1.5 system-ui, sans-serif; margin: 4rem auto;
 max-width: 40rem; overflow-wrap: anywhere }}</style></head>
<body><h1>{title}</h1><p>{why}</p><p>It is tried again once a file changes.</p></body>
</html>
"""


def follow(place: Place, out: Path, metric: str, every: float = EVERY) -> Iterator[str]:
    """Writes the page of a place now, and again whenever it has changed; has no end.

    Args:
        place: a run or a sweep.
        out: the file.
        metric: see `render`.
        every: seconds between two looks at the folder.

    Yields:
        What has just been done, in a line.

    Raises:
        UserError: the first page cannot be made or written.
    """
    seen = fingerprint(place)
    write(out, render(place, metric=metric))
    yield f"wrote {out}"
    while True:
        time.sleep(every)
        now = fingerprint(place)
        if now == seen:
            continue
        seen = now
        try:
            write(out, render(place, metric=metric))
            yield f"wrote {out}"
        except UserError as error:
            yield f"{out} is left as it was: {error}"


class Page(NamedTuple):
    """A page as it was made.

    Attributes:
        version: another one once what it shows has changed.
        text: the HTML file.
        checked: when it was last compared with the folder, on the monotonic clock.
    """

    version: str
    text: str
    checked: float


class Pages:
    """The pages of a folder, each made when somebody asks and something has changed.

    They are made one at a time and kept in memory; the folder is only read.

    Args:
        root: a run, a sweep, or a folder of them.
        every: seconds between two looks at it, at least.

    Raises:
        UserError: see `scan`.
    """

    def __init__(self, root: Path, every: float = EVERY):
        self._root, self._every = root, every
        self._places, self._scanned = scan(root), time.monotonic()
        self._made: dict[str, Page] = {}
        self._lock = threading.Lock()

    def get(self, address: str) -> Page | None:
        """The newest page of an address, once it is made; None where there is none."""
        with self._lock:
            place = self._place(address)
            if place is None:
                return None
            page = self._made.pop(address, None)
            if page is None or time.monotonic() - page.checked >= self._every:
                page = self._renew(place, page)
            self._made[address] = page
            if len(self._made) > _KEPT:
                del self._made[next(iter(self._made))]
            return page

    def _place(self, address: str) -> Place | None:
        if time.monotonic() - self._scanned >= self._every:
            try:
                self._places = scan(self._root)
            except UserError:
                self._places = {}
            self._scanned = time.monotonic()
        return self._places.get(address)

    def _renew(self, place: Place, page: Page | None) -> Page:
        seen = repr(fingerprint(place)).encode()
        version = hashlib.sha256(seen).hexdigest()[:16]
        if page is not None and page.version == version:
            return page._replace(checked=time.monotonic())
        try:
            text = render(place, f"{version} {self._every:g}")
        except Exception as error:  # whatever it is, it is shown where it is looked for
            why = str(error) if isinstance(error, UserError) else repr(error)
            title = "This page cannot be made now"
            seconds = max(1, self._every)
            text = _APOLOGY.format(title=title, why=escape(why), seconds=seconds)
        # Reckoned from the end, so that a slow page does not take all the time.
        return Page(version, text, time.monotonic())
