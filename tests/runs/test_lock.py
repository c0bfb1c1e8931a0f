"""Who holds a run folder, as another process sees it."""

import contextlib
import fcntl
import json
import os
import subprocess
import sys
import threading
import time

import pytest

from resseg import runs
from resseg.errors import UserError
from resseg.runs import layout, lock

LOOKS = {"locked": runs.is_locked, "claimed": runs.is_claimed}
PROGRAM = """
import sys, time
from resseg import runs
with getattr(runs, sys.argv[1])(sys.argv[2]) as held:
    print(held, flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize("kind", LOOKS)
def test_what_a_process_holds_is_held_until_it_is_killed(tmp_path, kind):
    other = {"locked": "claimed", "claimed": "locked"}[kind]
    assert not LOOKS[kind](tmp_path)
    assert list(tmp_path.iterdir()) == []  # looking leaves nothing behind
    command = [sys.executable, "-c", PROGRAM, kind, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        assert LOOKS[kind](tmp_path) and not LOOKS[other](tmp_path)
        if kind == "claimed":
            with runs.claimed(tmp_path) as ours:
                assert not ours
        else:
            with (
                pytest.raises(UserError) as refused,
                runs.locked(tmp_path),
            ):
                pass
            who = f"process {holder.pid} on {os.uname().nodename}, since 2"
            assert f"{tmp_path}: another process trains in it ({who}" in str(
                refused.value
            )
        holder.kill()
    assert not LOOKS[kind](tmp_path)
    with runs.locked(tmp_path) as killed, runs.claimed(tmp_path) as ours:
        assert (killed.process if killed else None) == (
            holder.pid if kind == "locked" else None
        )
        assert ours and runs.is_locked(tmp_path) and runs.is_claimed(tmp_path)


@pytest.mark.parametrize("process", [os.getpid(), 2**22 + 1], ids=["used", "unused"])
def test_what_a_killed_process_left_is_taken_whoever_has_its_number_now(
    tmp_path, process
):
    left = {"host": os.uname().nodename, "process": process, "since": 1.0}
    (tmp_path / layout.LOCK).write_text(json.dumps(left))
    began = time.monotonic()
    with runs.locked(tmp_path) as killed:
        assert killed is not None and killed.process == process
        assert json.loads((tmp_path / layout.LOCK).read_text())["since"] > 1.0
    assert time.monotonic() - began < lock.TOUCH
    assert (tmp_path / layout.LOCK).read_bytes() == b""
    with runs.locked(tmp_path) as killed:
        assert killed is None


@pytest.mark.parametrize("lives", [True, False])
def test_where_hosts_do_not_share_locks_who_lives_is_seen(tmp_path, monkeypatch, lives):
    monkeypatch.setattr(lock, "TOUCH", 0.05)
    file = tmp_path / layout.LOCK
    file.write_text('{"host": "elsewhere", "process": 7, "since": 1.0}')
    with contextlib.ExitStack() as held:
        if lives:
            timer = threading.Timer(0.06, os.utime, [file])
            held.callback(timer.join)
            timer.start()
            held.enter_context(pytest.raises(UserError, match="process 7 on elsewhere"))
        with runs.locked(tmp_path) as killed:
            assert killed is not None and killed.host == "elsewhere"
            before = file.stat().st_mtime_ns
            time.sleep(0.15)
            assert file.stat().st_mtime_ns > before


@pytest.mark.parametrize("content", ["", "12345", "{", '{"pid": 1}'])
def test_a_lock_file_of_an_earlier_version_names_nobody(tmp_path, content):
    (tmp_path / layout.LOCK).write_text(content)
    with runs.locked(tmp_path) as killed:
        assert killed is None


def test_who_only_looks_keeps_nobody_out(tmp_path):
    (tmp_path / layout.LOCK).touch()
    (tmp_path / layout.CLAIM).touch()
    with open(tmp_path / layout.LOCK) as one, open(tmp_path / layout.CLAIM) as two:
        for file in (one, two):
            fcntl.flock(file, fcntl.LOCK_SH)  # a look, held on
        assert not runs.is_locked(tmp_path)  # looks do not see each other
        assert not runs.is_claimed(tmp_path)

        def end_looking():
            time.sleep(0.005)
            fcntl.flock(one, fcntl.LOCK_UN)
            fcntl.flock(two, fcntl.LOCK_UN)

        thread = threading.Thread(target=end_looking)
        thread.start()
        with runs.locked(tmp_path), runs.claimed(tmp_path) as ours:
            assert ours
        thread.join()


def test_a_folder_that_is_none_is_held_by_nobody(tmp_path):
    (tmp_path / "file").touch()
    for folder in (tmp_path / "none", tmp_path / "file"):
        assert not runs.is_locked(folder) and not runs.is_claimed(folder)
