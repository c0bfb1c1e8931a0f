"""Ctrl-C, sent to a process as a terminal sends it."""

import signal
import subprocess
import sys
import time

import pytest

from resseg.cli import interrupts

COMMAND = """
import hashlib, sys, time
from resseg.cli import config, interrupts, main

def run(arguments):
    try:
        print("ready", flush=True)
        {work}
    finally:
        print("closed", flush=True)

config.run = run
sys.argv = ["resseg", "config", "x"]
sys.exit(main.main())
"""
WAITS = "time.sleep(60)"
# One call for minutes, which no handler of Python's can cut.
COMPILES = "hashlib.pbkdf2_hmac('sha256', b'', b'', 10**9)"
# As a callback of the garbage collector does, which Python will not let raise.
LOSES = """
        while True:
            try: time.sleep(60)
            except KeyboardInterrupt: pass"""


def start(work):
    return subprocess.Popen(
        [sys.executable, "-c", COMMAND.format(work=work)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize(
    ("work", "times"), [(WAITS, 1), (LOSES, 1), (LOSES, 2)], ids=["", "lost", "twice"]
)
def test_ctrl_c_ends_the_process_soon(work, times):
    process = start(work)
    assert process.stdout.readline() == "ready\n"
    time.sleep(0.5)  # until it is in the midst of its work
    began = time.monotonic()
    for _ in range(times):
        process.send_signal(signal.SIGINT)
        time.sleep(0.5)
    out, err = process.communicate(timeout=60)
    seconds = time.monotonic() - began
    assert process.returncode == interrupts.STATUS == 130
    assert err == "resseg: interrupted\n"
    assert out == "closed\n" or work is LOSES
    # The first lets files be closed, the second does not wait.
    assert (seconds >= interrupts.GRACE) == (work is LOSES and times == 1)


def test_a_command_that_ctrl_c_is_to_end_has_the_time_it_needs():
    work = """
        from resseg.cli import interrupts
        try: time.sleep(60)
        except KeyboardInterrupt: interrupts.ends_in_order()
        time.sleep(interrupts.GRACE + 1)
        return 0"""
    process = start(work)
    assert process.stdout.readline() == "ready\n"
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=60) == ("closed\n", "")
    assert process.returncode == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_before_there_is_anything_to_lose_a_training_ends_at_once(number):
    """Though its main thread is where no handler of Python reaches it: it compiles."""
    process = start(f"stop = interrupts.stop_in_order(); {COMPILES}")
    assert process.stdout.readline() == "ready\n"
    time.sleep(0.5)
    process.send_signal(number)
    out, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (0, "")
    assert out == "stopped before it began; the same command begins again\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_does_not_wait_for_what_is_to_be_saved(number):
    work = f"stop = interrupts.stop_in_order(); stop.in_order(); {COMPILES}"
    process = start(work)
    assert process.stdout.readline() == "ready\n"
    for _ in range(2):
        time.sleep(0.5)
        assert process.poll() is None
        process.send_signal(number)
    out, err = process.communicate(timeout=20)
    assert (process.returncode, out) == (128 + number, "")
    assert err == f"resseg: {number.name} twice: ended\n"
