"""Tests that promise bits run as users run: at XLA's own level of optimisation.

The other tests compile at level 0, which is half the work, and what is fused differs
with the level. A compiler option of one `jax.jit` did not raise it again (CPU, JAX
0.10.2 and 0.12.0.1), so that tests marked `bits` run in a process of their own; all
that were chosen in one, when the first is due.
"""

import os
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree

import pytest

LEVEL = "--xla_backend_optimization_level"
NO_OUTCOME = "failed", "the process of the tests that promise bits did not run it", 0.0


def is_own_level():
    """Whether this process compiles as users do."""
    return LEVEL not in os.environ.get("XLA_FLAGS", "")


class OwnLevel:
    """The plugin; `outcomes` are those of the other process, by id of the test."""

    def __init__(self, folder):
        self.folder = folder
        self.outcomes = None

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item, nextitem):
        if is_own_level() or item.get_closest_marker("bits") is None:
            return None
        if self.outcomes is None:
            marked = [i for i in item.session.items if i.get_closest_marker("bits")]
            self.outcomes = run(marked, self.folder / "bits.xml")
        item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
        outcome, text, seconds = self.outcomes.get(key_of(item), NO_OUTCOME)
        report = pytest.TestReport(
            item.nodeid,
            item.location,
            dict.fromkeys(item.keywords, 1),
            outcome,
            (str(item.path), item.location[1], text) if outcome == "skipped" else text,
            "call",
            duration=seconds,
        )
        item.ihook.pytest_runtest_logreport(report=report)
        # The test before left standing what it shares with this one.
        item.session._setupstate.teardown_exact(nextitem)
        item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
        return True


def run(items, results):
    """Runs tests in another process; (outcome, text, seconds) by class and name."""
    flags = os.environ["XLA_FLAGS"].split()
    kept = " ".join(flag for flag in flags if not flag.startswith(LEVEL))
    command = [sys.executable, "-m", "pytest", f"--junitxml={results}"]
    command += ["-o", "junit_family=xunit1", "-p", "no:cacheprovider"]
    began = time.monotonic()
    done = subprocess.run(
        [*command, *(item.nodeid for item in items)],
        cwd=items[0].config.rootpath,
        env=os.environ | {"XLA_FLAGS": kept},
        capture_output=True,
        text=True,
    )
    if not results.exists():
        text = f"{done.stdout}\n{done.stderr}"
        return {key_of(i): ("failed", text, time.monotonic() - began) for i in items}
    return dict(map(read, ElementTree.parse(results).iter("testcase")))


def read(case):
    """One test of the results file."""
    outcome, text = "passed", None
    for tag in ("failure", "error", "skipped"):
        if (found := case.find(tag)) is not None:
            outcome = "skipped" if tag == "skipped" else "failed"
            text = found.text or found.get("message")
    key = case.get("classname"), case.get("name")
    return key, (outcome, text, float(case.get("time")))


def key_of(item):
    """By what the results file knows a test."""
    path, _, name = item.nodeid.partition("::")
    return path.removesuffix(".py").replace("/", "."), name
