"""Run folders by any name: what is saved can be read, or the name is refused first."""

import errno
import logging
import os
from pathlib import Path

import jax.numpy as jnp
import pytest

from resseg import runs
from resseg.errors import UserError
from resseg.runs import checkpoints, damage, places

VARIABLES = {"params": {"kernel": jnp.arange(6.0)}}
TRAINING = {"step": jnp.int32(1)}


def save(folder):
    with checkpoints.Checkpoints(folder) as saved:
        saved.save(1, VARIABLES, TRAINING, {"next_batch": 1})


@pytest.mark.parametrize("name", ["../beside", "a b", "{a,b}", "50%", "日本", "q'uote"])
def test_what_is_saved_under_an_odd_name_can_be_read(tmp_path, monkeypatch, name):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    folder = runs.prepare(name)
    save(folder)
    restored = checkpoints.restore_variables(folder)
    assert restored["params"]["kernel"].tolist() == [0, 1, 2, 3, 4, 5]
    with checkpoints.Checkpoints(folder) as saved:
        assert saved.restore(VARIABLES, TRAINING).position == {"next_batch": 1}


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("run [1]", "'run [1]' has the character '['"),
        ("run?", "'run?' has the character '?'"),
        ("a*/b", "'a*' has the character '*'"),
        ("back\\slash", "has the character"),
        (os.fsdecode(b"\xff"), "not a name in UTF-8"),
        ("d/" * 2000, "bytes, expected at most"),
        ("", "expected the name of a folder"),
    ],
)
def test_names_that_libraries_misread_are_refused_and_nothing_is_made(
    tmp_path, monkeypatch, name, reason
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError) as caught:
        runs.prepare(name)
    assert str(caught.value).startswith("--workdir") and reason in str(caught.value)
    str(caught.value).encode()  # can be printed
    assert list(tmp_path.iterdir()) == []


def test_a_run_in_a_folder_that_got_such_a_name_can_still_be_read(tmp_path):
    save(tmp_path / "run")
    (tmp_path / "run").rename(tmp_path / "run [1]")
    restored = checkpoints.restore_variables(tmp_path / "run [1]")
    assert restored["params"]["kernel"].shape == (6,)
    (tmp_path / "run [1]").rename(tmp_path / "back\\slash")
    with pytest.raises(UserError, match="rename that folder") as caught:
        checkpoints.restore_variables(tmp_path / "back\\slash")
    assert "damaged" not in str(caught.value)


def test_links_that_lead_to_each_other_are_refused(tmp_path):
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(UserError, match="loop"):
        runs.prepare(tmp_path / "loop")


def test_the_first_save_is_read_back(tmp_path):
    (tmp_path / "run [1]").mkdir()  # a name that `runs.prepare` would have refused
    with pytest.raises(UserError, match=r"damaged checkpoint .*written a moment ago"):
        save(tmp_path / "run [1]")


def test_what_the_system_refuses_to_read_is_not_called_damaged(tmp_path, monkeypatch):
    save(tmp_path)
    index = tmp_path / "checkpoints" / "1" / "variables" / "_METADATA"
    read = Path.read_bytes

    def refused(path):
        if path == index:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return read(path)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "read_bytes", refused)
        with pytest.raises(UserError, match="cannot be read: Permission denied"):
            checkpoints.restore_variables(tmp_path)
    for file in (index.parent / "d").iterdir():
        file.unlink()
        file.symlink_to(file)
    with pytest.raises(UserError, match="Too many levels of symbolic links") as caught:
        checkpoints.restore_variables(tmp_path)
    assert "damaged" not in str(caught.value)


def test_a_full_disk_is_a_refusal_of_the_system_without_a_log(tmp_path, monkeypatch):
    def full(*_, **__):
        logging.getLogger("absl").error("a traceback of many lines")
        raise ValueError("Failed to write: No space left [os_error_code='28']")

    seen = []
    monkeypatch.setattr(logging.getLogger("absl"), "handle", seen.append)
    with checkpoints.Checkpoints(tmp_path) as saved:
        monkeypatch.setattr(checkpoints.ocp.CheckpointManager, "save", full)
        for save_one in (
            lambda: saved.save(1, VARIABLES, TRAINING, {}),
            lambda: saved.save_best(1, VARIABLES),
        ):
            with pytest.raises(OSError, match="No space left on device") as caught:
                save_one()
            assert caught.value.errno == errno.ENOSPC
            assert str(tmp_path) in caught.value.filename
    assert seen == []


def test_a_position_that_is_cut_is_damage(tmp_path):
    save(tmp_path)
    os.truncate(tmp_path / "checkpoints" / "1" / "position" / "metadata", 3)
    with (
        checkpoints.Checkpoints(tmp_path) as saved,
        pytest.raises(UserError, match=r"damaged checkpoint .* run begins anew"),
    ):
        saved.restore(VARIABLES, TRAINING)


@pytest.mark.parametrize(
    ("wanted", "reason"),
    [
        ({"params": {"kernel": jnp.ones(7)}}, r"params/kernel is (6,) there and (7,)"),
        ({"params": {"bias": jnp.ones(7)}}, "params/bias is missing there and (7,)"),
        ({"params": {}}, "params/kernel is (6,) there and missing by the config"),
    ],
)
def test_a_checkpoint_of_another_network_is_whole(tmp_path, wanted, reason):
    save(tmp_path)
    with (
        checkpoints.Checkpoints(tmp_path) as saved,
        pytest.raises(UserError) as caught,
    ):
        saved.restore(wanted, TRAINING)
    assert reason in str(caught.value)
    for word in ("damaged", "remove"):
        assert word not in str(caught.value)


def test_a_library_that_cannot_restore_whole_files_does_not_call_them_damaged():
    with (
        pytest.raises(UserError, match="every file of it can be read") as caught,
        damage.damage_named(Path("run/checkpoints/1"), "remedy"),
    ):
        raise ValueError("of another version")
    assert "remedy" not in str(caught.value)


def test_a_path_is_resolved_as_the_system_does(tmp_path):
    (tmp_path / "far" / "run").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "far" / "run")
    assert places.resolved(tmp_path / "link" / ".." / "x") == tmp_path / "far" / "x"
