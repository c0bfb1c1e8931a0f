"""Ctrl-C, sent to a process as a terminal sends it."""

import signal
import subprocess
import sys
import time

import pytest

from resseg.cli import interrupts

COMMAND = """
import sys, time
from resseg.cli import config, main

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
