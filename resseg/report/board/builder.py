"""Pages, made again in the background once what they show has changed."""

import secrets
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from resseg.errors import UserError
from resseg.report.board import index
from resseg.report.board.live import make_live, plain
from resseg.report.board.places import RUN, SWEEP, Place, fingerprint, scan

_PATIENCE = 2.0  # seconds
_FORGET = 60.0  # seconds after which nobody is looking at a page any more


@dataclass
class _Page:
    place: Place
    asked: float
    checked: float = -1.0
    seen: object = None
    version: str = ""
    file: Path | None = None


class Builder:
    """Makes one page at a time, in a thread of its own, into a folder of its own.

    Pages that somebody asked for in the last minute are looked after: every `every`
    seconds, or later while another is being made. The folder that they are about is
    only read.
    """

    def __init__(self, root: Path, into: Path, every: float):
        self._root, self._into, self.every = root, into, every
        self._places, self._scanned = scan(root), time.monotonic()
        self._pages: dict[str, _Page] = {}
        self._token, self._count = secrets.token_hex(4), 0
        self._change = threading.Condition()
        self._stopping = False
        self._thread = threading.Thread(target=self._work, daemon=True)

    def start(self) -> None:
        """Begins to work."""
        self._thread.start()

    def stop(self) -> None:
        """Ends after the page that is being made, or leaves it to the end of all."""
        with self._change:
            self._stopping = True
            self._change.notify()
        self._thread.join(_PATIENCE)

    def ask(self, address: str) -> tuple[str, Path | None] | None:
        """Version and file of a page: "" and None while it is made first.

        None where there is no such page.
        """
        with self._change:
            page = self._pages.get(address)
            if page is None:
                place = self._place(address)
                if place is None:
                    return None
                page = self._pages[address] = _Page(place, 0.0)
            page.asked = time.monotonic()
            self._change.notify()
            return page.version, page.file

    def _place(self, address: str) -> Place | None:
        if address not in self._places:
            if time.monotonic() - self._scanned < self.every:
                return None
            self._rescan()
        return self._places.get(address)

    def _rescan(self) -> None:
        self._scanned = time.monotonic()
        try:
            self._places = scan(self._root)
        except UserError:
            self._places = {}

    def _work(self) -> None:
        while True:
            with self._change:
                found = self._due()
                while found is None and not self._stopping:
                    self._change.wait(self.every)
                    found = self._due()
                if self._stopping or found is None:
                    return
                address, page = found
                page.checked = time.monotonic()
                if page.checked - self._scanned >= self.every:
                    self._rescan()
                page.place = self._places.get(address, page.place)
            self._renew(page)

    def _due(self) -> tuple[str, _Page] | None:
        """The page that waits longest."""
        now = time.monotonic()
        due = [
            (page.checked, address)
            for address, page in self._pages.items()
            if page.checked < 0
            or (now - page.checked >= self.every and now - page.asked < _FORGET)
        ]
        return (address := min(due)[1], self._pages[address]) if due else None

    def _renew(self, page: _Page) -> None:
        try:
            now = (page.place, fingerprint(page.place))
        except (UserError, KeyError, ValueError) as error:
            now = (page.place, str(error))
        if page.file is not None and now == page.seen:
            return
        self._count += 1
        version = f"{self._token}-{self._count}"
        file = self._into / f"{version}.html"
        text = self._text(page.place, version)
        if self._stopping:
            return
        file.write_text(text, encoding="utf-8")
        with self._change:
            old, page.file = page.file, file
            page.version, page.seen = version, now
            # Reckoned from the end, so that a slow page does not take all the time.
            page.checked = time.monotonic()
        if old is not None:
            old.unlink()

    def _text(self, place: Place, version: str) -> str:
        try:
            return make_live(_render(place), version, self.every)
        except Exception as error:  # a thread that dies would leave an old page
            why = str(error) if isinstance(error, UserError) else repr(error)
            title = "This page cannot be made now"
            again = "It is tried again once a file changes."
            return plain(title, why, again, seconds=max(1, round(self.every)))


def _render(place: Place) -> str:
    if place.kind == RUN:
        from resseg.report.run import page as run_page

        return run_page.render(run_page.read(place.folder))
    if place.kind == SWEEP:
        from resseg.report.sweep import page, read

        told = read.read(place.folder)
        return page.render(told._replace(pages=frozenset(place.inside)))
    return index.render(place.folder, place.inside)
