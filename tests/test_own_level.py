"""Tests that promise bits really run elsewhere, and what happens there is told here."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
INNER = """
import os
import pytest

pytestmark = pytest.mark.bits


def test_compiles_as_users_do():
    assert os.environ["XLA_FLAGS"] == "--xla_cpu_enable_fast_math=false"


@pytest.mark.parametrize("word", ["one [two]", "::"])
def test_fails(word):
    assert word == "a value that says so"


def test_is_skipped():
    pytest.skip("for a reason")


def test_cannot_begin(missing_fixture):
    pass
"""


@pytest.mark.parametrize("workers", [(), ("-n2", "--dist=loadfile")], ids=str)
def test_outcomes_are_those_of_another_process(tmp_path, workers):
    (tmp_path / "conftest.py").write_text(
        f"import sys\nsys.path.insert(0, {str(TESTS)!r})\n"
        "from own_level import register\n\n\n"
        "def pytest_configure(config):\n"
        "    config.addinivalue_line('markers', 'bits: …')\n"
        "    register(config)\n"
    )
    (tmp_path / "test_inner.py").write_text(INNER)
    flags = "--xla_backend_optimization_level=0 --xla_cpu_enable_fast_math=false"
    if workers:
        pytest.importorskip("xdist")
    command = [sys.executable, "-m", "pytest", "-rA", "-c", os.devnull, *workers]
    done = subprocess.run(
        [*command, "--rootdir", str(tmp_path), str(tmp_path)],
        env=os.environ | {"XLA_FLAGS": flags},
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert "1 passed, 1 skipped" in done.stdout and "3 failed" in done.stdout
    assert "PASSED test_inner.py::test_compiles_as_users_do" in done.stdout
    assert "a value that says so" in done.stdout
    assert "fixture 'missing_fixture' not found" in done.stdout
    assert "for a reason" in done.stdout
    assert done.returncode == 1
