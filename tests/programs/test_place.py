"""Where programs are kept: said once, and never over what a user says."""

import os
import stat

import pytest

from resseg.programs import place


@pytest.fixture
def home(tmp_path, monkeypatch):
    """An empty cache folder of a user who has said nothing."""
    for name in (place.FOLDER, place.SWITCH, place.SHORTEST, place.BOUND):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


def test_a_folder_of_the_user_is_named_to_jax(home):
    place.settle()
    folder = place.default_folder()
    assert os.environ[place.FOLDER] == str(folder)
    assert folder.is_relative_to(home) and folder.is_dir()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_another_processor_has_another_folder(home, monkeypatch):
    here = place.default_folder()
    monkeypatch.setattr(place, "processor", lambda: "model: 1\nflags: sse2")
    assert place.default_folder() != here


def test_a_worker_on_another_machine_has_its_own(home, monkeypatch):
    place.settle()
    first = os.environ[place.FOLDER]
    monkeypatch.setattr(place, "processor", lambda: "model: 1\nflags: sse2")
    place.settle()
    assert os.environ[place.FOLDER] == str(place.default_folder()) != first


def test_what_a_user_says_stays(home, monkeypatch):
    monkeypatch.setenv(place.FOLDER, "elsewhere")
    monkeypatch.setenv(place.SHORTEST, "3")
    place.settle()
    assert (os.environ[place.FOLDER], os.environ[place.SHORTEST]) == ("elsewhere", "3")
    assert not (home / "cache").exists()


@pytest.mark.parametrize("word", ["false", "0", "OFF"])
def test_it_can_be_switched_off(home, monkeypatch, word):
    monkeypatch.setenv(place.SWITCH, word)
    place.settle()
    assert place.is_off() and place.FOLDER not in os.environ
    assert not (home / "cache").exists()


def test_a_folder_that_others_can_write_to_is_not_named(home):
    folder = place.default_folder()
    folder.mkdir(parents=True)
    folder.chmod(0o777)
    place.settle()
    assert place.FOLDER not in os.environ


def test_without_a_home_nothing_is_kept_and_nothing_is_wrong(home, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", "/dev/null/cache")
    place.settle()
    assert place.FOLDER not in os.environ


def test_in_the_own_folder_programs_of_jax_count_too(home, monkeypatch):
    place.settle()
    folder = place.default_folder()
    (folder / "jit_old-cache").write_bytes(bytes(60))
    os.utime(folder / "jit_old-cache", (1, 1))
    (folder / "jit_new-cache").write_bytes(bytes(60))
    place.trim(folder)
    assert len(list(folder.iterdir())) == 2
    monkeypatch.setenv(place.BOUND, "100")
    place.settle()
    assert [file.name for file in folder.iterdir()] == ["jit_new-cache"]
