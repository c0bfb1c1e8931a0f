"""Pages in headless Chromium, for the tests marked `browser`.

`tools/setup_browser.sh` installs what is needed. Without it the tests are skipped; with
RESSEG_BROWSER_TESTS=1 they fail instead, so that nobody believes they ran.
"""

import os
import shutil
import time
from pathlib import Path

import pytest

FORCED = os.environ.get("RESSEG_BROWSER_TESTS") == "1"
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
AXE = Path(os.environ.get("RESSEG_AXE", CACHE / "resseg-browser" / "axe.min.js"))
# Seconds that the page computes until every figure is drawn: of its main thread, which
# is all there is to wait for on a machine that does nothing else.
OPENS_IN = 3.0

try:
    from playwright import sync_api as playwright
except ImportError:
    playwright = None


def _missing():
    if playwright is None:
        return "playwright is not installed"
    return "" if CHROMIUM else "chromium is not installed"


MARKS = [
    pytest.mark.browser,
    pytest.mark.skipif(
        bool(_missing()) and not FORCED, reason=f"{_missing()}: tools/setup_browser.sh"
    ),
]


def launch():
    """Chromium, while the generator is open."""
    assert not _missing(), _missing()
    assert playwright is not None
    with playwright.sync_playwright() as running:
        chromium = running.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox"]
        )
        yield chromium
        chromium.close()


class Opened:
    """A page, and what it did that it should not."""

    def __init__(self, browser, file, scheme="light", width=1440, hash_=""):
        self.context = browser.new_context(
            viewport={"width": width, "height": 900},
            color_scheme=scheme,
            accept_downloads=True,
        )
        self.page = self.context.new_page()
        self.wrong = []
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.page.on("request", self._request)
        self.url = file.as_uri()
        metrics = self.context.new_cdp_session(self.page)
        metrics.send("Performance.enable", {"timeDomain": "threadTicks"})
        self.page.goto(self.url + hash_)
        self.page.wait_for_selector("html[data-drawn=all]")
        told = metrics.send("Performance.getMetrics")["metrics"]
        self.busy = {each["name"]: each["value"] for each in told}["TaskDuration"]

    def _console(self, message):
        if message.type in ("error", "warning"):
            self.wrong.append(message.text)

    def _request(self, request):
        if not request.url.startswith((self.url, "data:", "blob:")):
            self.wrong.append(f"request of {request.url}")

    def evaluate(self, script, argument=None):
        return self.page.evaluate(script, argument)

    def until(self, script):
        """Waits until it holds; the page's policy forbids playwright's own way."""
        deadline = time.monotonic() + 10
        while not self.evaluate(script):
            assert time.monotonic() < deadline, script
            time.sleep(0.02)

    def chosen(self):
        """The fork as each part of the page shows it."""
        return self.evaluate(
            """() => ({
              drawing: [...document.querySelectorAll('#drawing [aria-pressed=true]')]
                .map((each) => each.dataset.fork),
              row: [...document.querySelectorAll('tr.selected')]
                .map((each) => each.dataset.fork),
              menu: document.querySelector('#fork-menu').selectedOptions[0].textContent,
              hash: decodeURIComponent(location.hash),
            })"""
        )

    def curve(self, figure, name):
        """The y values of a trace of a figure."""
        return self.evaluate(
            """([figure, name]) => Array.from(document.getElementById(figure).data
              .find((trace) => trace.name === name).y)""",
            [figure, name],
        )


def holds(view, script):
    """Whether it holds; not while the page is just being loaded again."""
    assert playwright is not None
    try:
        return view.evaluate(script)
    except playwright.Error:
        return False


def grave_violations(opened):
    """What axe-core finds serious on a page."""
    if not AXE.is_file():
        if FORCED:
            pytest.fail(f"{AXE} is missing: tools/setup_browser.sh")
        pytest.skip(f"{AXE} is missing: tools/setup_browser.sh")
    opened.evaluate(AXE.read_text(encoding="utf-8"))
    found = opened.evaluate("axe.run()")["violations"]
    grave = [v for v in found if v["impact"] in ("serious", "critical")]
    return [(v["id"], v["nodes"][0]["html"][:200]) for v in grave]
