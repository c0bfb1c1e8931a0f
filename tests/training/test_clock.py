"""Where the time of a run goes, and what is done where nothing goes on."""

import subprocess
import sys
import threading
import time

import pytest

from resseg import runs
from resseg.runs.ledger import ACCOUNTS, Ledger, read_ledger, read_pace
from resseg.training.clock import Clock, Times
from resseg.training.watchdog import STALLED, watching


def test_each_second_is_one_of_what_was_done_at_the_time():
    clock = Clock(age=1.0)
    time.sleep(0.05)
    with clock.on("save"):
        time.sleep(0.1)
        with clock.on("evaluate"):
            time.sleep(0.2)
    clock.switch("other")
    time.sleep(0.1)
    ledger = clock.ledger(None)
    spent = ledger.spent
    assert set(spent) == set(ACCOUNTS)
    assert 1.05 <= spent["start"] < 1.25
    assert 0.1 <= spent["save"] < 0.3 and 0.2 <= spent["evaluate"] < 0.4
    assert ledger.wall == pytest.approx(sum(spent.values()) + 0.1, abs=0.2)
    assert ledger.named == pytest.approx(sum(spent.values()) / ledger.wall)


def test_what_lies_between_processes_is_offline():
    earlier = Ledger(time.time() - 100.0, time.time() - 40.0, {"wait": 60.0})
    ledger = Clock().ledger(earlier)
    assert ledger.began == earlier.began
    assert ledger.spent["wait"] == 60.0
    assert ledger.spent["offline"] == pytest.approx(40.0, abs=0.5)
    assert ledger.named > 0.99
    assert ledger.largest(2) == "wait 60%, offline 40%"


def test_a_run_keeps_its_ledger_beside_its_pace(tmp_path):
    with runs.RunWriter(tmp_path, tensorboard=False, resume_step=None) as writer:
        Times(Clock(), None, writer).write(0)
        writer.write_timing(1, {"seconds_per_step": 0.5})
        Times(Clock(age=7.0), None, writer).write(9)
    assert read_pace(tmp_path) == [{"step": 1, "seconds_per_step": 0.5}]
    last = read_ledger(tmp_path)
    assert last is not None and last.spent["start"] == pytest.approx(7.0, abs=0.5)
    (tmp_path / "none").mkdir()
    assert read_ledger(tmp_path / "none") is None


def test_a_run_that_goes_back_counts_no_second_twice(tmp_path):
    clock = Clock(age=5.0)
    for _ in range(3):
        earlier = clock.earlier(tmp_path)
        assert earlier is None
        step = 0 if (tmp_path / "metrics.jsonl").exists() else None
        with runs.RunWriter(tmp_path, tensorboard=False, resume_step=step) as writer:
            Times(clock, earlier, writer).write(0)
    ledger = read_ledger(tmp_path)
    assert ledger is not None and 5.0 <= ledger.wall < 6.0
    assert Clock().earlier(tmp_path) == ledger


def watch(at, seconds, *, beats=False):
    """What the watchdog does in a second: how it left, and what it said."""
    clock, left, said = Clock(), [], []
    clock.switch(at)
    with watching(clock, seconds, lambda *how: left.append(how), said.append):
        for _ in range(20):
            time.sleep(0.05)
            clock.beats += beats
    return left, said


@pytest.mark.parametrize(
    ("at", "what"),
    [
        ("data", "a batch of the data workers"),
        ("wait", "the device to end a step"),
        ("save", "a checkpoint to be saved"),
        ("evaluate", "a batch of the evaluation"),
    ],
)
def test_what_was_waited_for_too_long_is_named(monkeypatch, at, what):
    dumped = []
    monkeypatch.setattr(
        "faulthandler.dump_traceback", lambda *_, **__: dumped.append(1)
    )
    monkeypatch.setattr(threading.Timer, "start", lambda self: None)
    ((status, line),), said = watch(at, 0.3)
    assert (status, line) == (STALLED, f"stalled: waited 0:00 for {what}")
    assert dumped == [1] and said == []


def test_compiling_is_said_and_is_no_stall():
    left, said = watch("compile", 0.2)
    assert left == [] and 2 <= len(said) <= 5
    assert said[0] == "0:00 more without a step: compile"


def test_where_something_goes_on_nothing_is_said():
    assert watch("wait", 0.4, beats=True) == ([], [])
    assert watch("wait", None) == ([], [])


def test_a_process_that_stalls_shows_all_threads_and_ends_with_its_own_status():
    program = """
import sys, time
from resseg.cli import interrupts
from resseg.training.clock import Clock
from resseg.training.watchdog import watching
interrupts.watch()
stop, clock = interrupts.stop_in_order(), Clock()
def hangs_for_ever(): time.sleep(60)
with watching(clock, 0.3, stop.leave, print), clock.on("data"): hangs_for_ever()
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=50
    )
    assert done.returncode == STALLED == 75
    assert "hangs_for_ever" in done.stderr and "Thread" in done.stderr
    line = done.stderr.splitlines()[-1]
    assert line == "resseg: stalled: waited 0:00 for a batch of the data workers"
