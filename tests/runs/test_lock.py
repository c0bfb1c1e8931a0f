"""Who holds a run folder, as another process sees it."""

import fcntl
import subprocess
import sys
import threading
import time

import pytest

from resseg import runs
from resseg.errors import UserError
from resseg.runs import layout

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
                pytest.raises(UserError, match=f"{tmp_path}: another process is"),
                runs.locked(tmp_path),
            ):
                pass
        holder.kill()
    assert not LOOKS[kind](tmp_path)
    with runs.locked(tmp_path), runs.claimed(tmp_path) as ours:
        assert ours and runs.is_locked(tmp_path) and runs.is_claimed(tmp_path)


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
