"""Runs compared in one page, and a run as Markdown."""

import json
import re

from resseg.cli.main import main
from resseg.report.run import compare
from resseg.report.run.markdown import code, escape

DEAD = ("backbone/stage2/block1", "shortcut")


def test_compared_runs_share_their_figures(page_run, tmp_path, capsys):
    one = page_run(tmp_path / "one")
    two = page_run(tmp_path / "two", dead=DEAD)
    out = tmp_path / "page.html"
    command = ["report", "--compare", str(one), str(two), "--out", str(out)]
    assert main(command) == 0
    capsys.readouterr()
    text = out.read_text()
    block = re.search(r'id="page-data">(.*?)</script>', text)
    assert block is not None
    tables = json.loads(block[1])["tables"]
    share = {(run, place): value for run, place, value in tables["shares"]["rows"]}
    assert share["one", "stage2/block1"] == 0.25
    assert share["two", "stage2/block1"] == 0
    loss = [row for row in tables["loss"]["rows"] if row[0] == "one"]
    assert loss[:2] == [["one", 1, 2], ["one", 2, 1]]
    assert "The configs are the same." in text
    assert "No gradient comes back over the shortcut of backbone/stage2/block1" in text


def test_norms_that_cannot_be_compared_are_divided(page_run, tmp_path):
    one = page_run(tmp_path / "one")
    two = page_run(tmp_path / "two", config={"data.batch_size": 4})
    text = compare.render([one, two])
    assert "data.batch_size is 16 and 4" in text
    assert "by that of its own last block" in text


def test_markdown_says_the_same(page_run, tmp_path, capsys):
    folder = page_run(tmp_path / "run", dead=DEAD)
    assert main(["report", str(folder), "--format", "md"]) == 0
    assert capsys.readouterr().out == f"wrote {folder / 'report.md'}\n"
    text = (folder / "report.md").read_text()
    assert "No gradient comes back over the shortcut of backbone/stage2/block1" in text
    assert "| `backbone/stage2/block1` | shortcut, branch | 0 (dead) |" in text
    assert "| background | 0.900 |" in text
    pictures = re.findall(r"\]\((report/\w+\.png)\)", text)
    assert len(pictures) == 5
    for picture in pictures:
        assert (folder / picture).read_bytes().startswith(b"\x89PNG")
    outside_of_code = re.sub(r"(`+).*?\1", "", text)
    assert "<script>" not in outside_of_code and "<b>" not in outside_of_code


def test_markdown_text_stays_text():
    assert escape("a*b_c <d>\n|e|") == r"a\*b\_c \<d\> \|e\|"
    assert code("a`b|c") == r"`` a`b\|c ``"
