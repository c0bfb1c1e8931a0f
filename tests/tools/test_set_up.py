"""Which Python make takes, and when it makes an environment anew.

The Pythons here are scripts of versions that do not exist: they say their version, copy
themselves for `-m venv` and write down what they are asked.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from venv import EnvBuilder

import pytest

ROOT = Path(__file__).resolve().parents[2]
PYTHON = """#!/bin/sh
case "$*" in
"-c "*) echo "{version} $0" ;;
"-m venv "*) rm -rf "$4" && mkdir -p "$4/bin" && cp "$0" "$4/bin/python" ;;
esac
case "$*" in "-c "*) ;; *) echo "$*" >>"{log}" ;; esac
"""
BROKEN = "#!/bin/sh\necho pyenv: command not found >&2\nexit 127\n"


class Clone:
    """A folder with the scripts of tools/, and locks, a PATH and a pyenv of its own."""

    def __init__(self, folder):
        self.folder = folder
        self.log = folder / "log"
        shutil.copytree(ROOT / "tools", folder / "tools")
        (folder / "bin").mkdir()
        (folder / "requirements").mkdir()
        (folder / "pyproject.toml").write_text("")
        for pair in ("py391-jax0.1", "py392-jax0.2", "py393-jax0.2"):
            (folder / "requirements" / f"{pair}.txt").write_text("setuptools==1\n")
            (folder / "requirements" / f"{pair}-extras.txt").write_text("ray==1\n")

    def add(self, place, version, content=PYTHON):
        """A Python at `place`, and its path."""
        path = self.folder / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content.format(version=version, log=self.log))
        path.chmod(0o755)
        return str(path)

    def run(self, script, *arguments, **variables):
        return subprocess.run(
            [f"tools/{script}", *arguments],
            cwd=self.folder,
            env={
                "PATH": f"{self.folder}/bin:{os.defpath}",
                "PYENV_ROOT": str(self.folder / "pyenv"),
                **variables,
            },
            capture_output=True,
            text=True,
        )

    def find(self, *arguments, **variables):
        """The lines of find_python.sh, which say nothing else."""
        result = self.run("find_python.sh", *arguments, **variables)
        assert (result.returncode, result.stderr) == (0, "")
        return result.stdout.splitlines()

    def refusal(self, **variables):
        result = self.run("find_python.sh", **variables)
        assert (result.returncode, result.stdout) == (1, "")
        (line,) = result.stderr.splitlines()
        return line

    def set_up(self, *options, **variables):
        """What environment.sh had the Pythons do."""
        self.log.write_text("")
        result = self.run("environment.sh", "env", *options, **variables)
        assert (result.returncode, result.stderr) == (0, "")
        return self.log.read_text().splitlines()


@pytest.fixture
def clone(tmp_path):
    return Clone(tmp_path)


def test_the_newest_python_with_a_lock_is_taken(clone):
    clone.add("bin/python3.91", "3.91")
    newest = clone.add("bin/python3.93", "3.93")
    clone.add("bin/python3.94", "3.94")
    assert clone.find() == [f"3.93 py393-jax0.2 {newest}"]


def test_all_lists_each_version_once_the_newest_first(clone):
    old = clone.add("bin/python3.91", "3.91")
    clone.add("pyenv/versions/3.91.5/bin/python3.91", "3.91")
    new = clone.add("bin/python3.93", "3.93")
    lines = [f"3.93 py393-jax0.2 {new}", f"3.91 py391-jax0.1 {old}"]
    assert clone.find("--all") == lines
    assert clone.find("--all", PYTHON="3.91") == lines


def test_pyenv_is_searched_though_its_shim_does_not_run(clone):
    clone.add("bin/python3.92", "", BROKEN)
    clone.add("pyenv/versions/3.92.9/bin/python3.92", "3.92")
    newest = clone.add("pyenv/versions/3.92.10/bin/python3.92", "3.92")
    clone.add("pyenv/versions/3.92.11t/bin/python3.92", "3.92")
    assert clone.find() == [f"3.92 py392-jax0.2 {newest}"]


@pytest.mark.parametrize("asked", ["3.91", "python3.91", "{folder}/bin/python3.91"])
def test_PYTHON_asks_for_a_version_or_a_program(clone, asked):
    clone.add("bin/python3.92", "3.92")
    old = clone.add("bin/python3.91", "3.91")
    asked = asked.format(folder=clone.folder)
    assert clone.find(PYTHON=asked) == [f"3.91 py391-jax0.1 {old}"]


def test_what_is_not_to_be_had_is_refused_in_one_line(clone):
    choices = "set PYTHON to one of 3.93, 3.92, 3.91 or to its path"
    places = f"on the PATH or in {clone.folder}/pyenv/versions"
    assert clone.refusal() == f"no Python that has a lock {places}: {choices}"
    assert clone.refusal(PYTHON="3.92") == f"no Python 3.92 {places}: {choices}"
    assert clone.refusal(PYTHON="3.8") == f"PYTHON=3.8: no such Python: {choices}"
    other = clone.add("bin/python3.90", "3.90")
    assert clone.refusal(PYTHON=other) == (
        f"PYTHON={other} is Python 3.90, which has no lock: {choices}"
    )


def test_a_virtual_environment_answers_with_the_python_beneath_it(clone):
    """Else `make` in an activated .venv would build .venv from itself."""
    version = f"3.{sys.version_info.minor}"
    name = f"py3{sys.version_info.minor}-jax0.2"
    (clone.folder / "requirements" / f"{name}.txt").write_text("")
    EnvBuilder(symlinks=True).create(clone.folder / "own")
    (line,) = clone.find(PYTHON=f"{clone.folder}/own/bin/python")
    beneath = Path(sys.base_prefix) / "bin" / f"python{version}"
    assert line == f"{version} {name} {beneath}"


def test_an_environment_is_set_up_once(clone):
    clone.add("bin/python3.92", "3.92")
    first = clone.set_up()
    assert first[0] == "-m venv --clear env"
    assert [line.split()[-1] for line in first[1:]] == [
        "/dev/stdin",
        "requirements/py392-jax0.2.txt",
        ".",
    ]
    assert clone.set_up() == []
    (extras,) = clone.set_up("--extras")
    assert extras.endswith("--require-hashes -r requirements/py392-jax0.2-extras.txt")
    assert clone.set_up("--extras") == []


def test_a_changed_lock_installs_anew_in_the_same_environment(clone):
    clone.add("bin/python3.92", "3.92")
    clone.set_up("--extras")
    with (clone.folder / "requirements" / "py392-jax0.2.txt").open("a") as lock:
        lock.write("jax==1\n")
    again = clone.set_up("--extras")
    assert len(again) == 4 and all(" pip " in line for line in again)


def test_another_python_makes_the_environment_anew(clone):
    clone.add("bin/python3.92", "3.92")
    clone.add("bin/python3.91", "3.91")
    clone.set_up("--extras")
    assert clone.set_up(PYTHON="3.91")[0] == "-m venv --clear env"
    assert not (clone.folder / "env" / ".extras").exists()
    (clone.folder / "env" / "bin" / "python").unlink()
    assert clone.set_up(PYTHON="3.91")[0] == "-m venv --clear env"


def test_an_installation_that_failed_is_not_taken_for_done(clone):
    failing = PYTHON.replace("esac\n", "*/dev/stdin) exit 1 ;;\nesac\n", 1)
    clone.add("bin/python3.92", "3.92", failing)
    assert clone.run("environment.sh", "env").returncode == 1
    clone.add("bin/python3.92", "3.92")
    assert clone.set_up()[0] == "-m venv --clear env"
