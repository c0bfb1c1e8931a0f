"""The page of a sweep as a reader has it, and one that is kept new."""

import csv
import io
import threading
import time
from pathlib import Path

import pytest
from browsing import MARKS, OPENS_IN, Opened, grave_violations, holds
from many_runs import ALPHA, write_many

from resseg.report.serve import Server
from resseg.report.sweep import page
from resseg.report.sweep.read import read
from resseg.report.watch import Pages
from resseg.sweeps import threshold

pytestmark = MARKS
HOSTILE = "</script><script>alert(1)</script>\"'&<b>ü漢{x}%{y}" + "x" * 300


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    """30 runs of which one waits, with a claim that holds and one that is open."""
    folder = tmp_path_factory.mktemp("sweep") / "many"
    claims = [
        threshold("it learns", {ALPHA: 0.0}, at_least=0.4),
        threshold("it is perfect", {ALPHA: 1.0}, at_least=1.0),
    ]
    alphas = (0.0, 0.25, 0.5, 0.75, 1.0)
    write_many(
        folder,
        alphas,
        study=HOSTILE,
        question=f"{HOSTILE}\n\nPrediction: yes.",
        texts={"data.name": HOSTILE},
        claims=claims,
        keep=lambda number: number != 29,
    )
    return folder


@pytest.fixture(scope="module")
def told(sweep):
    return read(sweep)


@pytest.fixture(scope="module")
def page_file(told, tmp_path_factory):
    path = tmp_path_factory.mktemp("html") / "report.html"
    path.write_text(page.render(told), encoding="utf-8")
    return path


def test_it_opens_quickly_and_asks_nobody(opened):
    assert 0.05 < opened.busy < OPENS_IN
    names = opened.evaluate(
        "performance.getEntriesByType('resource').map((entry) => entry.name)"
    )
    assert [name for name in names if not name.startswith(("data:", "blob:"))] == []


def test_every_seed_is_a_dot_of_the_forest_plot(opened, told):
    find = """document.getElementById('forest').data
      .find((trace) => trace.name === 'one seed').x"""
    drawn = opened.evaluate(f"Array.from({find})")
    pairs = [value for v in told.variants for value in v.row.pairs.values()]
    # Of 8 variants with 3 seeds each; the run that waits is one of the baseline's.
    assert len(drawn) == len(pairs) == 8 * 3 - 4
    assert sorted(drawn) == pytest.approx(sorted(pairs), rel=1e-5)
    shown = opened.page.locator("#forest .scatterlayer .trace").nth(1)
    assert shown.locator(".point").count() == len(pairs)
    legend = opened.page.locator("#forest .legendtext").all_text_contents()
    assert legend == ["Student's t 95 %", "one seed", "mean"]


def test_the_table_sorts_by_click_and_by_key_and_filters(opened, told):
    mean = opened.page.locator("#variant-table thead button", has_text="mean_iou")
    order = """[...document.querySelectorAll('#variant-table tbody tr')]
      .map((row) => Number(row.dataset.variant))"""
    best_first = list(range(10))
    assert opened.evaluate(order) == best_first
    mean.click()
    assert opened.evaluate(order) == best_first
    mean.focus()
    opened.page.keyboard.press("Enter")
    assert opened.evaluate(order) == best_first[::-1]
    opened.page.fill("#variant-table-filter", "Baseline 1.0")
    shown = opened.page.locator("#variant-table tbody tr:visible")
    kept = [int(row.get_attribute("data-variant")) for row in shown.all()]
    assert sorted(kept) == told.baselines and len(kept) == 2
    opened.page.fill("#run-table-filter", "waiting")
    rows = opened.page.locator("#run-table tbody tr:visible")
    assert rows.locator("th").all_text_contents() == ["run029"]


def test_variants_are_chosen_for_the_curves_and_stay_in_the_address(browser, opened):
    lines = """document.getElementById('curve-loss').data
      .filter((trace) => trace.name).length"""
    assert opened.evaluate(lines) == 5
    chosen = "#variant-table [aria-pressed=true]"
    assert opened.page.locator(chosen).count() == 5
    opened.page.locator("#variant-table [data-show='4']").focus()
    opened.page.keyboard.press("Space")
    places = opened.evaluate("location.hash").removeprefix("#show=").split(",")
    count = opened.page.locator(chosen).count()
    assert len(places) == count == opened.evaluate(lines)
    assert ("5" in places) is (count == 6)
    assert opened.page.locator("#chosen .chip").count() == count


def test_an_address_brings_its_choice(browser, page_file):
    made = Opened(browser, page_file, hash_="#show=3,7,99,x")
    chips = made.page.locator("#chosen .chip").all_text_contents()
    made.context.close()
    assert [chip.partition(" · ")[0] for chip in chips] == ["3", "7"]
    assert made.wrong == []


def test_dark_follows_the_button_in_drawings_too(opened):
    ink = "getComputedStyle(document.querySelector('.multiples .mean')).stroke"
    light = opened.evaluate(ink)
    opened.page.click("#theme")
    ground = opened.evaluate("getComputedStyle(document.body).backgroundColor")
    assert ground == "rgb(20, 23, 26)"
    assert opened.evaluate(ink) != light
    font = opened.evaluate("document.getElementById('forest').layout.font.color")
    assert font == "#e6e9ec"


def test_a_download_names_the_variants(opened, told):
    with opened.page.expect_download() as caught:
        opened.page.click("[data-csv=differences]")
    text = Path(caught.value.path()).read_text(encoding="utf-8")
    rows = list(csv.DictReader(io.StringIO(text)))
    names = {row["variant"] for row in rows}
    assert names == {v.name for v in told.variants if v.row.pairs}
    assert {row["seed"] for row in rows} == {"0", "1", "2"}


def test_the_cost_menu_and_hostile_names(opened):
    opened.page.select_option("#cost-x", "macs")
    title = "document.getElementById('cost').layout.xaxis.title.text"
    assert opened.evaluate(title) == "multiply-accumulates of one image"
    assert opened.page.text_content("h1") == HOSTILE
    assert opened.page.locator("main b").count() == 0


@pytest.mark.parametrize("width", [1440, 1024, 400])
def test_nothing_is_wider_than_the_window(browser, page_file, width):
    made = Opened(browser, page_file, width=width)
    wide = made.evaluate("document.documentElement.scrollWidth")
    made.context.close()
    assert wide <= width
    assert made.wrong == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_serious_violation_of_accessibility(browser, page_file, scheme):
    made = Opened(browser, page_file, scheme=scheme)
    grave = grave_violations(made)
    made.context.close()
    assert grave == []
    assert made.wrong == []


def test_a_served_page_loads_a_newer_one_and_keeps_what_is_chosen(browser, tmp_path):
    folder = tmp_path / "sweep"
    write_many(folder, (0.0, 1.0), (0.1,), 2)
    server = Server(0, Pages(folder, every=0.2))
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    context = browser.new_context()
    try:
        view = context.new_page()
        wrong = []
        view.on("pageerror", lambda error: wrong.append(str(error)))
        view.goto(f"http://127.0.0.1:{server.server_port}/")
        view.wait_for_selector("html[data-drawn=all]", timeout=60000)
        view.click("#variant-table [data-show='0']")
        assert view.evaluate("location.hash") == "#show=2"
        view.fill("#run-table-filter", "run001")
        view.evaluate("document.activeElement.blur()")
        with open(folder / "run001" / "metrics.jsonl", "a") as file:
            file.write('{"step": 10, "split": "val", "mean_iou": 0.1234}\n')
        deadline = time.monotonic() + 60
        row = "document.querySelector('#run-table')?.textContent.includes('0.1234')"
        while not holds(view, row):
            assert time.monotonic() < deadline
            time.sleep(0.1)
        view.wait_for_selector("html[data-drawn=all]")
        assert view.evaluate("location.hash") == "#show=2"
        assert view.input_value("#run-table-filter") == "run001"
        assert view.locator("#run-table tbody tr:visible").count() == 1
        assert view.text_content("#live") == "live"
        assert wrong == []
    finally:
        context.close()
        server.shutdown()
        server.server_close()
