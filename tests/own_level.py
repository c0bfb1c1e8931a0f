"""Tests that promise bits run as users run: at XLA's own level of optimisation.

The other tests compile at level 0, which is half the work, and what is fused differs
with the level. A compiler option of one `jax.jit` did not raise it again (CPU, JAX
0.10.2 and 0.12.0.1), so that tests marked `bits` run in a process of their own: all
that were chosen in one, which starts when they are known, beside the others. Files that
have some come last here, where each only tells what became of it there.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

LEVEL = "--xla_backend_optimization_level"
RESULTS, OVER, LOG, PID = "bits.xml", "over", "log", "pid"


def is_own_level():
    """Whether this process compiles as users do."""
    return LEVEL not in os.environ.get("XLA_FLAGS", "")


def is_marked(item):
    return item.get_closest_marker("bits") is not None


def register(config):
    """For `pytest_configure`."""
    worker = getattr(config, "workerinput", {})  # of pytest-xdist
    folder = worker.get("own_level") or tempfile.mkdtemp(prefix="resseg-bits-")
    plugin = OwnLevel(Path(folder), worker.get("workerid"))
    config.pluginmanager.register(plugin)


class OwnLevel:
    """The plugin: one in each process of a session, all with the same `folder`.

    Of pytest-xdist's workers the first starts the process, and whichever has a marked
    test waits for its outcome. What still runs at the end, as after `-x`, is ended by
    the process that has no tests of its own, or by the only one there is.
    """

    def __init__(self, folder, worker):
        self.folder, self.worker = folder, worker
        self.outcomes, self.process = None, None

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node):
        node.workerinput["own_level"] = str(self.folder)

    def pytest_collection_modifyitems(self, items):
        if not is_own_level():
            late = {item.path for item in items if is_marked(item)}
            items.sort(key=lambda item: (item.path in late, is_marked(item)))

    def pytest_collection_finish(self, session):
        marked = [item for item in session.items if is_marked(item)]
        elsewhere = is_own_level() or session.config.option.collectonly
        if marked and not elsewhere and self.worker in (None, "gw0"):
            self.process = start(marked, self.folder)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item, nextitem):
        if is_own_level() or not is_marked(item):
            return None
        if self.outcomes is None:
            self.outcomes = wait_for_outcomes(self.folder)
        item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
        found = self.outcomes.get(key_of(item))
        outcome, text, seconds = found or ("failed", not_run(self.folder), 0.0)
        report = pytest.TestReport(
            item.nodeid,
            item.location,
            dict.fromkeys(item.keywords, 1),
            outcome,
            (str(item.path), item.location[1], text) if outcome == "skipped" else text,
            "call",
            duration=seconds,
        )
        # The test before left standing what it shares with this one.
        item.session._setupstate.teardown_exact(nextitem)
        item.ihook.pytest_runtest_logreport(report=report)
        item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
        return True

    def pytest_unconfigure(self):
        if self.process is not None and (self.folder / OVER).exists():
            self.process.wait()
        if self.worker is None:
            end(self.folder)


def start(items, folder):
    """Runs tests in another process, of which `folder` holds id, results and log."""
    flags = os.environ["XLA_FLAGS"].split()
    kept = " ".join(flag for flag in flags if not flag.startswith(LEVEL))
    tests = [sys.executable, "-m", "pytest", f"--junitxml={folder / RESULTS}"]
    tests += ["-o", "junit_family=xunit1", "-p", "no:cacheprovider"]
    # The shell says that the tests are over, also where a signal ended their process.
    command = ["sh", "-c", '"$@"; : >"$0"', str(folder / OVER), *tests]
    with (folder / LOG).open("wb") as log:
        process = subprocess.Popen(
            [*command, *(item.nodeid for item in items)],
            cwd=items[0].config.rootpath,
            env=os.environ | {"XLA_FLAGS": kept},
            stdout=log,
            stderr=subprocess.STDOUT,
            process_group=0,
        )
    (folder / PID).write_text(str(process.pid))
    return process


def end(folder):
    """Ends that process and removes the folder."""
    if (folder / PID).exists() and not (folder / OVER).exists():
        with contextlib.suppress(ProcessLookupError):
            os.killpg(int((folder / PID).read_text()), signal.SIGTERM)
    shutil.rmtree(folder, ignore_errors=True)


def wait_for_outcomes(folder):
    """(outcome, text, seconds) by class and name of the test."""
    while not (folder / OVER).exists():
        time.sleep(0.1)
    if not (folder / RESULTS).exists():
        return {}
    return dict(map(read, ElementTree.parse(folder / RESULTS).iter("testcase")))


def not_run(folder):
    """What is known of a test that has no outcome."""
    log = (folder / LOG).read_text(errors="replace")
    return f"the process of the tests that promise bits did not run it:\n{log}"


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
