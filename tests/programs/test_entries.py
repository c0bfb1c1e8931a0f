"""An entry is what was written, by this user and whole, or it is not there."""

import os
import pickle
import random

import pytest

from resseg.programs import place
from resseg.programs.entries import Damaged, Entries, packed, unpacked

KEY = {"name": "step", "shapes": [8, 128]}
CONTENT = bytes(range(256)) * 4


@pytest.fixture
def entries(tmp_path):
    return Entries(tmp_path)


def file_of(tmp_path):
    (file,) = (tmp_path / place.OWN).iterdir()
    return file


def test_what_was_written_is_read(entries, tmp_path):
    assert entries.read(KEY) is None
    entries.write(KEY, CONTENT)
    assert entries.read(KEY) == CONTENT
    assert entries.read(KEY | {"name": "other"}) is None
    file = file_of(tmp_path)
    assert (file.stat().st_mode & 0o777, file.parent.stat().st_mode & 0o777) == (
        0o600,
        0o700,
    )
    entries.remove(KEY)
    assert entries.read(KEY) is None


def corrupted(entry, other, rng):
    """An entry changed in one of the ways that disks, programs and people have."""
    at, size = rng.randrange(len(entry)), len(entry)
    end = min(size, at + rng.randrange(1, 200))
    kinds = {
        "bit": entry[:at]
        + bytes([entry[at] ^ 1 << rng.randrange(8)])
        + entry[at + 1 :],
        "cut": entry[:at],
        "hole": entry[:at] + bytes(end - at) + entry[end:],
        "lost": entry[:at] + entry[end:],
        "more": entry + rng.randbytes(rng.randrange(1, 99)),
        "twice": entry[:end] + entry[at:],
        "noise": rng.randbytes(rng.randrange(2 * size)),
        "head": other[:at] + entry[at:],
        "tail": entry[:at] + other[at:],
        "other": other,
    }
    return kinds[rng.choice(list(kinds))]


def test_of_a_thousand_corrupted_entries_none_is_taken():
    rng, entry = random.Random(14), packed(KEY, CONTENT)
    other = packed(KEY | {"name": "other"}, CONTENT[::-1])
    assert unpacked(entry, KEY) == CONTENT
    refused = 0
    for _ in range(1000):
        changed = corrupted(entry, other, rng)
        if changed == entry:  # the head of both, or zeros where zeros were
            continue
        with pytest.raises(Damaged):
            unpacked(changed, KEY)
        refused += 1
    assert refused > 900


class Trap:
    """Unpickled, it writes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("whole", [True, False])
def test_a_damaged_file_is_removed_and_nothing_of_it_is_run(entries, tmp_path, whole):
    """Not even if it is an entry of its own right, of something else."""
    entries.write(KEY, CONTENT)
    trap = pickle.dumps(Trap(tmp_path / "trapped"))
    foreign = packed(KEY | {"name": "other"}, trap) if whole else trap
    file_of(tmp_path).write_bytes(foreign)
    with pytest.raises(Damaged, match="something else" if whole else "no program"):
        entries.read(KEY)
    assert entries.read(KEY) is None
    assert not (tmp_path / "trapped").exists()


def opened_to_others(folder, file):
    folder.chmod(0o750)


def file_opened_to_others(folder, file):
    file.chmod(0o640)


def folder_elsewhere(folder, file):
    folder.rename(folder.with_name("moved"))
    folder.symlink_to("moved")


def file_elsewhere(folder, file):
    file.rename(folder / "moved")
    file.symlink_to("moved")


def pipe(folder, file):
    file.unlink()
    os.mkfifo(file, 0o600)


@pytest.mark.parametrize(
    "change",
    [opened_to_others, file_opened_to_others, folder_elsewhere, file_elsewhere, pipe],
)
def test_what_others_may_have_put_there_is_not_read(entries, tmp_path, change):
    entries.write(KEY, CONTENT)
    file = file_of(tmp_path)
    change(file.parent, file)
    assert entries.read(KEY) is None


def test_a_folder_of_another_user_is_not_used(entries, tmp_path, monkeypatch):
    entries.write(KEY, CONTENT)
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    assert entries.read(KEY) is None
    entries.write(KEY | {"name": "other"}, CONTENT)
    assert file_of(tmp_path).is_file()  # and no second one


def test_what_was_not_used_for_longest_makes_room(entries, tmp_path, monkeypatch):
    size = len(packed(KEY | {"number": 0}, CONTENT))
    monkeypatch.setenv(place.BOUND, str(3 * size))
    foreign = tmp_path / "of-another-program"
    foreign.write_bytes(bytes(10 * size))
    keys = [KEY | {"number": number} for number in range(5)]
    for age, key in enumerate(keys[:3]):
        entries.write(key, CONTENT)
        for file in (tmp_path / place.OWN).iterdir():
            if file.stat().st_mtime > 1e9:
                os.utime(file, (age, age))
    assert entries.read(keys[0]) == CONTENT  # used now
    entries.write(keys[3], CONTENT)
    there = [entries.read(key) is not None for key in keys]
    assert there == [True, False, True, True, False]
    assert foreign.exists()


def test_a_disk_that_is_full_is_no_error(entries, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    entries.write(KEY, CONTENT)
    assert entries.read(KEY) is None
