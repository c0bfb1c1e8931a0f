"""The page as a reader has it, in headless Chromium."""

import csv
import io
from pathlib import Path

import numpy as np
import pytest
from browsing import MARKS, OPENS_IN, Opened, grave_violations

from resseg.report.run import compare, page
from resseg.runs import open_run

DEAD = "backbone/stage2/block1"
OTHER = "backbone/stage3/block2"
pytestmark = MARKS


@pytest.fixture(scope="module")
def page_file(planted_run, tmp_path_factory):
    path = tmp_path_factory.mktemp("html") / "report.html"
    path.write_text(page.render(page.read(planted_run)), encoding="utf-8")
    return path


def test_it_opens_quickly_and_asks_nobody(opened):
    assert 0.05 < opened.busy < OPENS_IN
    names = opened.evaluate(
        "performance.getEntriesByType('resource').map((entry) => entry.name)"
    )
    assert [name for name in names if not name.startswith(("data:", "blob:"))] == []


def test_the_planted_fork_is_chosen_when_the_page_opens(opened):
    chosen = opened.chosen()
    assert chosen["drawing"] == chosen["row"] == [DEAD]
    assert chosen["menu"] == "stage2/block1"
    status = opened.page.text_content("#fork-state")
    assert status == "Exactly 0 in every step shown: shortcut."
    dead = "#drawing [aria-pressed=true] .edge.dead"
    assert opened.page.locator(dead).count() == 1


def test_a_click_on_a_fork_chooses_it_everywhere(opened, planted_run):
    opened.page.click(f"#drawing [data-fork='{OTHER}'] .operation")
    chosen = opened.chosen()
    assert chosen["drawing"] == chosen["row"] == [OTHER]
    assert chosen["hash"] == f"#fork={OTHER}"
    log = open_run(planted_run).gradients
    mine = log[(log["fork"] == OTHER) & (log["path"] == "branch")]
    np.testing.assert_allclose(opened.curve("fork", "branch"), mine["site"], rtol=1e-5)


def test_forks_are_chosen_by_keyboard_and_by_address(browser, page_file, opened):
    opened.page.focus(f"#drawing [data-fork='{OTHER}']")
    opened.page.keyboard.press("Enter")
    assert opened.chosen()["row"] == [OTHER]
    linked = Opened(browser, page_file, hash_="#fork=backbone%2Fstage1%2Fblock2")
    assert linked.chosen()["drawing"] == ["backbone/stage1/block2"]
    linked.context.close()


def test_a_click_on_the_heat_map_chooses_fork_and_step(opened):
    plot = opened.page.locator("#heat-blocks .nsewdrag").first
    plot.scroll_into_view_if_needed()
    box = plot.bounding_box()
    assert box is not None
    # The top row of six is the first block, the first column of twelve the first step.
    opened.page.mouse.click(box["x"] + box["width"] / 24, box["y"] + box["height"] / 12)
    row = "document.querySelector('tr.selected').dataset.fork"
    opened.until(f"{row} === 'backbone/stage1/block1'")
    assert opened.page.text_content("#step-value") == "step 1"


def test_the_slider_moves_profile_and_drawing(opened, planted_run):
    log = open_run(planted_run).gradients
    blocks = log[(log["kind"] == "block") & (log["path"] == "branch")]
    for place, step in ((0, 1), (11, 12)):
        opened.page.locator("#step").fill(str(place))
        expected = blocks[blocks["step"] == step]["site"]
        np.testing.assert_allclose(
            opened.curve("profile", "branch"), expected, rtol=1e-5
        )
    assert opened.page.text_content("#step-value") == "step 12"


def test_heat_maps_show_what_is_asked_for(opened):
    first = "Array.from(document.getElementById('heat-blocks').data[0].z[0])"
    before = opened.evaluate(first)
    opened.page.click("[data-view=share]")
    np.testing.assert_allclose(opened.evaluate(first), [0.25 - 0.5] * 12, atol=1e-6)
    opened.page.click("[data-view=first]")
    opened.page.select_option("#relative", "run")
    assert opened.evaluate(first) != before
    opened.page.select_option("#scale", "grey")
    scale = "document.getElementById('heat-blocks').data[0].colorscale[0][1]"
    assert opened.evaluate(scale) == "#00224e"


def test_play_goes_through_the_steps(opened):
    opened.page.click("#play")
    opened.until("Number(document.getElementById('step').value) > 2")
    # In one go with the question whether it still plays: it may come to its end.
    stopped = opened.evaluate(
        """() => {
          const play = document.getElementById('play');
          if (play.getAttribute('aria-pressed') === 'true') play.click();
          return document.getElementById('step').value;
        }"""
    )
    assert opened.page.get_attribute("#play", "aria-pressed") == "false"
    opened.page.wait_for_timeout(400)
    assert opened.evaluate("document.getElementById('step').value") == stopped


def test_tables_sort_and_filter(opened):
    share = "#fork-table th:nth-child(6) button"
    values = """() => [...document.querySelectorAll('#fork-table tbody tr')]
      .map((row) => Number(row.cells[5].dataset.value))"""
    opened.page.click(share)
    falling = opened.evaluate(values)
    assert falling == sorted(falling, reverse=True)
    opened.page.click(share)
    assert opened.evaluate(values) == falling[::-1] == sorted(falling)
    heads = opened.page.locator("#fork-table th[aria-sort]")
    assert heads.count() == 1 and heads.get_attribute("aria-sort") == "ascending"
    opened.page.fill("#fork-filter", "stage3 block2")
    shown = opened.page.locator("#fork-table tbody tr:visible")
    assert [row.get_attribute("data-fork") for row in shown.all()] == [OTHER]


def test_the_config_shows_what_differs_or_all(opened):
    rows = opened.page.locator("#config-table tbody tr:visible")
    assert rows.count() == 2
    opened.page.uncheck("[data-only=config-table]")
    assert rows.count() > 80


def test_dark_follows_the_system_and_the_button(browser, page_file, opened):
    def ground(each):
        return each.evaluate("getComputedStyle(document.body).backgroundColor")

    assert ground(opened) == "rgb(255, 255, 255)"
    opened.page.click("#theme")
    assert ground(opened) == "rgb(20, 23, 26)"
    ink = opened.evaluate("document.getElementById('fork').layout.font.color")
    assert ink == "#e6e9ec"
    dark = Opened(browser, page_file, scheme="dark")
    assert ground(dark) == "rgb(20, 23, 26)"
    dark.context.close()


def test_a_download_holds_the_log(opened, planted_run):
    with opened.page.expect_download() as caught:
        opened.page.click("[data-plot=heat-blocks] button.csv")
    assert caught.value.suggested_filename == "gradients.csv"
    text = Path(caught.value.path()).read_text(encoding="utf-8")
    rows = list(csv.DictReader(io.StringIO(text)))
    log = open_run(planted_run).gradients
    assert [row["fork"] for row in rows] == log["fork"].tolist()
    for column in ("step", "site", "share"):
        told = [float(row[column]) for row in rows]
        np.testing.assert_allclose(told, log[column], rtol=1e-5)


def test_hostile_names_come_out_as_they_are(opened):
    text = opened.evaluate(
        "document.querySelector('#class-table tbody tr:nth-child(2) th').textContent"
    )
    assert text.startswith("</script><script>alert(1)</script>\"'&<b>ü漢")
    assert opened.page.locator("main b").all_text_contents() == ["site norm", "share"]


def test_classes_of_a_sample_are_shown_and_hidden(opened):
    picture = """document.querySelector('[data-sample="0"] [data-panel=truth]')
      .toDataURL()"""
    opened.page.locator(".sample").first.scroll_into_view_if_needed()
    painted = opened.evaluate(picture)
    opened.page.click("[data-class='1']")
    assert opened.page.get_attribute("[data-class='1']", "aria-pressed") == "false"
    assert opened.evaluate(picture) != painted


@pytest.mark.parametrize("width", [1440, 1024, 400])
def test_nothing_is_wider_than_the_window(browser, page_file, width):
    narrow = Opened(browser, page_file, width=width)
    wide = narrow.evaluate("document.documentElement.scrollWidth")
    narrow.context.close()
    assert wide <= width
    assert narrow.wrong == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("kind", ["run", "compared"])
def test_no_serious_violation_of_accessibility(
    browser, page_file, planted_run, page_run, tmp_path, scheme, kind
):
    file = page_file
    if kind == "compared":
        file = tmp_path / "compared.html"
        other = page_run(tmp_path / "other")
        file.write_text(compare.render([planted_run, other]), encoding="utf-8")
    made = Opened(browser, file, scheme=scheme)
    grave = grave_violations(made)
    made.context.close()
    assert grave == []
    assert made.wrong == []
