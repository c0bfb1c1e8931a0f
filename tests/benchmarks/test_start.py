"""Starts are measured as whole processes."""

import sys

import pytest

from benchmarks.start import Started


def test_a_start_is_timed_to_the_end_of_its_process(monkeypatch):
    met = []
    program = "import os, sys; sys.exit(sum(range(2 * 10**6)) * int(os.environ['N']))"
    started = Started(
        [sys.executable, "-c", program], {"N": "0"}, lambda: met.append(1)
    )
    seconds = [started(), started()]
    assert len(met) == len(started.computed) == 2
    assert all(0 < value < 60 for value in [*seconds, *started.computed])


def test_a_start_that_fails_ends_the_measurement():
    started = Started([sys.executable, "-c", "raise SystemExit(3)"], {})
    with pytest.raises(SystemExit, match="status 3"):
        started()
