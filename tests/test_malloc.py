"""Memory that a step has freed stays with the process."""

import subprocess
import sys

import pytest

from resseg import malloc
from resseg.cli import interrupts
from resseg.cli.main import main

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="glibc of Linux")
# Twice as much memory as one arena of a thread can hold, taken by another thread than
# the one that began, and given back: how many pages of it are faults the third time.
FAULTS = """
import ctypes, mmap, resource, sys, threading
from resseg import malloc
if "keep" in sys.argv:
    assert malloc.keep_freed()
libc, size = ctypes.CDLL(None), 128 << 20
libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
libc.free.argtypes = [ctypes.c_void_p]
libc.memset.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]
def step():
    taken = libc.malloc(size)
    libc.memset(taken, 1, size)
    libc.free(taken)
for _ in range(3):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    thread = threading.Thread(target=step)
    thread.start()
    thread.join()
print((resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) * mmap.PAGESIZE)
"""


def faults(*arguments, **environment):
    """Bytes of the third taking that the system had to give anew."""
    given = {"PATH": "/usr/bin:/bin", "PYTHONPATH": ":".join(sys.path)} | environment
    command = [sys.executable, "-c", FAULTS, *arguments]
    said = subprocess.run(command, env=given, capture_output=True, text=True)
    assert said.returncode == 0, said.stderr
    return int(said.stdout)


@LINUX
def test_memory_is_there_the_next_time_whichever_thread_asks():
    assert faults() >= 128 << 20
    assert faults("keep", RESSEG_KEEP_MEMORY="1") < 1 << 20
    given = malloc.keeping({malloc.ASKED: "1"})
    assert faults(**given) < 1 << 20


@LINUX
def test_it_is_asked_for_and_no_choice_is_overruled():
    assert malloc.keeps({malloc.ASKED: "1"})
    assert malloc.keeping({}) == malloc.keeping({malloc.ASKED: "0"}) == {}
    for name in malloc.CHOSEN:
        assert not malloc.keeps({name: "x", malloc.ASKED: "1"})


@pytest.mark.parametrize(
    ("command", "order"), [("train", ["keep", "thread"]), ("describe", ["thread"])]
)
def test_a_command_that_trains_keeps_memory_before_it_starts_a_thread(
    monkeypatch, command, order
):
    done = []
    monkeypatch.setattr(malloc, "keep_freed", lambda: done.append("keep"))
    monkeypatch.setattr(interrupts, "watch", lambda: done.append("thread"))
    monkeypatch.setattr(sys, "argv", ["resseg", command, "--help"])
    with pytest.raises(SystemExit):
        main()
    assert done == order
