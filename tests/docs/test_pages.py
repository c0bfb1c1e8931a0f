"""What the pages of this repository point at is there."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    *ROOT.glob("*.md"),
    *ROOT.glob("docs/*.md"),
    *ROOT.glob("experiments/*/README.md"),
    ROOT / "benchmarks" / "README.md",
]
LINK = re.compile(r"\]\(([^)\s]+)\)")
FIGURE = re.compile(r"!\[[^\]]*\]\(([^)\s]+)\)")
TEST = re.compile(r"(tests/[\w/]+\.py)::(\w+)")
COMMAND = re.compile(r"\b(?:python (?:-m )?([\w./]+)|resseg (\w+))")


def name(page):
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page):
    targets = {t.partition("#")[0] for t in LINK.findall(page.read_text())}
    inside = {t for t in targets if t and not t.startswith(("http", "mailto"))}
    assert [t for t in sorted(inside) if not (page.parent / t).exists()] == []


@pytest.mark.parametrize(
    "page", [page for page in PAGES if TEST.search(page.read_text())], ids=name
)
def test_a_test_that_is_named_is_there(page):
    missing = []
    for path, function in set(TEST.findall(page.read_text())):
        file = ROOT / path
        if not file.is_file() or f"def {function}(" not in file.read_text():
            missing.append(f"{path}::{function}")
    assert missing == []


@pytest.mark.parametrize(
    "page", [page for page in PAGES if FIGURE.search(page.read_text())], ids=name
)
def test_a_figure_carries_the_command_that_drew_it(page):
    lines = [line for line in page.read_text().splitlines() if line]
    for figure in FIGURE.findall(page.read_text()):
        about = [line for line in lines if Path(figure).name in line]
        commands = [COMMAND.search(FIGURE.sub("", line)) for line in about]
        found = [command for command in commands if command]
        assert found, f"{name(page)} says nowhere what draws {figure}"
        assert [command.group() for command in found if not exists(command)] == []


def exists(command):
    script, subcommand = command.groups()
    if subcommand:
        asked = [sys.executable, "-m", "resseg", subcommand, "--help"]
        return subprocess.run(asked, cwd=ROOT, capture_output=True).returncode == 0
    return (ROOT / script).is_file() or (
        ROOT / f"{script.replace('.', '/')}.py"
    ).is_file()


def test_the_map_of_the_house_names_every_room():
    text = (ROOT / "docs" / "architecture.md").read_text()
    tree = text.partition("## The rooms")[2].split("```")[1]
    inside = tree.partition("resseg/\n")[2]
    named = set(re.findall(r"^    (\w+)/ ", inside, re.M))
    rooms = {path.parent.name for path in (ROOT / "resseg").glob("*/__init__.py")}
    assert named == rooms
    (hall,) = re.findall(r"^    (.*?) +the hall$", inside, re.M)
    files = {path.stem for path in (ROOT / "resseg").glob("[!_]*.py")}
    assert set(hall.split()) == files


def test_commits_are_checked_by_the_ruff_of_the_locks():
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
    (repository,) = config["repos"]
    locks = [*ROOT.glob("requirements*.lock"), *ROOT.glob("requirements/*")]
    pins = {
        pin
        for file in locks
        for pin in re.findall(r"^ruff==(\S+)", file.read_text(), re.M)
    }
    assert pins == {repository["rev"].removeprefix("v")}


def test_the_citation_names_no_version_of_its_own():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert {"cff-version", "title", "message", "authors"} <= set(citation)
    assert not {"version", "date-released"} & set(citation)
    assert citation["license"] == project["license"]
