"""What a page inserts is text, whatever it holds; its data block reads back."""

import hashlib
import json
import re

import numpy as np
import pytest

from resseg.report.page import assets, document
from resseg.report.page.markup import Cell, Html, join, json_block, plain, table, tag

HOSTILE = "</script><script>alert(1)</script>\"'&<b>ü漢\u2028\u2029"


def test_children_and_attributes_are_escaped():
    made = tag("p", HOSTILE, title=HOSTILE, data_fork=HOSTILE)
    assert "<script" not in made
    assert made.startswith('<p title="&lt;/script&gt;')
    assert made.count("&quot;") == 3
    assert 'data-fork="' in made


def test_markup_is_kept_and_text_beside_it_is_not():
    inner = tag("b", "x < y")
    assert tag("p", inner, " & z") == "<p><b>x &lt; y</b> &amp; z</p>"
    assert join(["a<", Html("<br>"), None], "&") == "a&lt;&amp;<br>"


def test_attributes_of_python_names_and_of_no_value():
    made = tag("input", type="range", for_="x", cls="a", hidden=True, max=None, min=0)
    assert made == '<input type="range" for="x" class="a" hidden min="0">'


def test_a_data_block_cannot_be_ended_and_reads_back():
    value = {HOSTILE: [HOSTILE, 1.5, None], "<!--": "<!--"}
    block = json_block("data", value)
    inner = re.fullmatch(
        r'<script type="application/json" id="data">(.*)</script>', block
    )
    assert inner is not None
    assert not set("<>&\u2028\u2029") & set(inner[1])
    assert json.loads(inner[1]) == value


def test_numbers_are_short_and_what_is_not_finite_is_null():
    values = np.array([0.123456789, np.nan, np.inf, 2.0, 0.0, 1e-30])
    assert plain(values) == [0.123457, None, None, 2, 0, 1e-30]
    assert plain({"a": np.int64(3), "b": (np.float32(0.5),)}) == {"a": 3, "b": [0.5]}


def test_tables_carry_what_they_are_sorted_by():
    made = table("A < B", ["name", "value"], [["x<", Cell("1.2 k", 1200)]])
    assert '<th scope="row">x&lt;</th>' in made
    assert '<td class="number" data-value="1200">1.2 k</td>' in made
    assert "<caption>A &lt; B</caption>" in made


def test_the_embedded_plotly_is_the_one_of_the_notice():
    told = assets.notice()
    script = assets.plotly()
    assert hashlib.sha256(script.encode()).hexdigest() == told["sha256"]
    assert f"plotly.js (cartesian - minified) v{told['version']}" in script[:200]
    assert "MIT License" in assets.text("plotly-LICENSE.txt")


def test_the_vendored_file_stays_below_a_mebibyte():
    from importlib import resources

    folder = resources.files("resseg.report.page") / "assets"
    size = len((folder / assets.notice()["file"]).read_bytes())
    assert size < 2**20


def page(title="t"):
    sections = [document.Section("one", "One", tag("p", "text"))]
    return document.render(title, tag("h1", title), sections, {"a": 1}, ["start.js"])


def test_the_policy_names_every_script_and_no_network():
    text = page()
    policy = re.search(r'Content-Security-Policy" content="(.*?)"', text)
    assert policy is not None
    assert "default-src &#x27;none&#x27;" in policy[1]
    assert "unsafe-inline&#x27;; script-src &#x27;sha256-" in policy[1]
    scripts = re.findall(r"<script>", text)
    assert policy[1].count("sha256-") == len(scripts) == 4
    assert "http://" not in policy[1] and "https://" not in policy[1]


def test_a_hostile_title_is_text():
    text = page(HOSTILE)
    assert "alert(1)</script>" not in text
    assert "&lt;/script&gt;&lt;script&gt;alert(1)" in text


def test_a_script_that_would_end_early_is_refused():
    with pytest.raises(ValueError, match="neither"):
        document._script("x = '</SCRIPT>'")
