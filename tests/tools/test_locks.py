"""The locks under requirements/: complete, hashed, of the versions their names say."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "requirements"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LOCKS = sorted(path.name for path in FOLDER.iterdir())
BASES = [name for name in LOCKS if not name.endswith("-extras.txt")]


def read(name):
    """The versions of a lock by package, each of them pinned with hashes."""
    pins = {}
    for block in re.split(r"\n(?! )", (FOLDER / name).read_text().rstrip("\n")):
        head, *hashes = block.split(" \\\n")
        pin, _, marker = head.partition(" ; ")
        package, _, version = pin.partition("==")
        assert re.fullmatch(r"[\w.!+]+", version), block
        assert not re.search("python|win32", marker), block
        assert hashes and all(
            re.fullmatch("    --hash=sha256:[0-9a-f]{64}", line) for line in hashes
        ), block
        assert package not in pins
        pins[package] = version
    return pins


def test_every_python_of_the_classifiers_has_its_two_locks():
    label = "Programming Language :: Python :: "
    versions = [
        line.removeprefix(label)
        for line in PROJECT["classifiers"]
        if line.startswith(label)
    ]
    found = [re.fullmatch(r"py3(\d+)-jax[\d.]+\.txt", name)[1] for name in BASES]
    assert [f"3.{minor}" for minor in found] == versions
    assert sorted([*BASES, *(f"{name[:-4]}-extras.txt" for name in BASES)]) == LOCKS


@pytest.mark.parametrize("name", BASES)
def test_a_lock_pins_what_the_project_asks_for(name):
    minor, jax = re.fullmatch(r"py3(\d+)-jax([\d.]+)\.txt", name).groups()
    pins = read(name)
    assert pins["jax"].startswith(f"{jax}.")
    for line in [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["dev"]]:
        wanted = Requirement(line)
        if not wanted.marker or wanted.marker.evaluate(
            {"python_version": f"3.{minor}"}
        ):
            assert pins[canonicalize_name(wanted.name)] in wanted.specifier


@pytest.mark.parametrize("name", BASES)
def test_the_extras_add_to_a_lock_and_repeat_nothing(name):
    extras = read(f"{name[:-4]}-extras.txt")
    assert {"submitit", "ray", "playwright"} <= set(extras)
    assert not set(extras) & set(read(name))
