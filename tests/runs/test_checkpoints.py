"""Checkpoints whose files are damaged: one line that names them, and the way out."""

import os
import resource
import shutil
import subprocess
import sys
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from resseg.errors import UserError
from resseg.runs import checkpoints, damage, layout


def variables(step):
    return {
        "params": {
            f"conv{i}": {"kernel": jnp.full((8, 8), step + i)} for i in range(9)
        },
        "batch_stats": {"norm": {"mean": jnp.zeros(8)}},
        "paths": {"fork": {"scale": jnp.ones(())}},
    }


def training(step):
    return {"step": jnp.int32(step), "opt_state": {"momentum": jnp.zeros((8, 8))}}


@pytest.fixture
def run(tmp_path):
    """Checkpoints of steps 2, kept for good, and 4, the latest; best is 2."""
    saved = checkpoints.Checkpoints(tmp_path, keep_every=2)
    for step in (2, 4):
        saved.save(step, variables(step), training(step), {"next_batch": step})
    saved.save_best(2, variables(2))
    saved.close()
    return tmp_path


@pytest.fixture(autouse=True)
def unraisable(monkeypatch):
    """What threads could not raise; the hook of before is back afterwards."""
    seen = []
    monkeypatch.setattr(sys, "unraisablehook", seen.append)
    return seen


def cut(folder):
    for path in folder.rglob("d/*"):
        os.truncate(path, path.stat().st_size // 2)


def drop_index(folder):
    (folder / "variables" / "_METADATA").unlink()


def drop_manifest(folder):
    (folder / "variables" / "manifest.ocdbt").unlink()


def drop_data(folder):
    shutil.rmtree(folder / "variables" / "d")


@pytest.mark.parametrize("damage", [cut, drop_index, drop_data, drop_manifest])
def test_damaged_weights_name_the_checkpoint_and_the_others(run, unraisable, damage):
    damage(run / "checkpoints" / "4")
    with pytest.raises(UserError) as caught:
        checkpoints.restore_variables(run, 4)
    message = str(caught.value)
    assert message.startswith(f"{run}/checkpoints/4: damaged checkpoint (")
    assert message.endswith("choose another with --step (there are 2)")
    assert unraisable == []
    hook = sys.unraisablehook
    two = checkpoints.restore_variables(run, 2)
    assert np.array_equal(two["params"]["conv3"]["kernel"], np.full((8, 8), 5))
    assert sys.unraisablehook is hook


@pytest.mark.parametrize("item", ["variables", "training"])
def test_no_read_is_under_way_when_damage_is_named(run, monkeypatch, item):
    def never(*_, **__):
        raise AssertionError("orbax has begun to read")

    cut(run / "checkpoints" / "4" / item)
    shutil.rmtree(run / "checkpoints" / "2")
    monkeypatch.setattr(checkpoints.ocp.CheckpointManager, "restore", never)
    monkeypatch.setattr(checkpoints.ocp.StandardCheckpointHandler, "restore", never)
    with pytest.raises(UserError, match="checkpoints/4: damaged checkpoint"):
        checkpoints.Checkpoints(run).restore(variables(0), training(0))
    if item == "variables":
        with pytest.raises(UserError, match="checkpoints/4: damaged checkpoint"):
            checkpoints.restore_variables(run, 4)


def test_reads_that_fail_in_other_threads_are_not_reported():
    seen = []
    for reason in ("Event loop is closed", "something else"):
        lost = types.SimpleNamespace(exc_value=RuntimeError(reason))
        damage._report_unraisable(seen.append, lost)
    assert [str(item.exc_value) for item in seen] == ["something else"]


def test_what_else_cannot_be_raised_is_still_reported(run, unraisable):
    cut(run / "checkpoints" / "4")
    with pytest.raises(UserError):
        checkpoints.restore_variables(run, 4)

    class Bad:
        def __del__(self):
            raise RuntimeError("something else")

    Bad()
    assert [str(item.exc_value) for item in unraisable] == ["something else"]


def flip(folder):
    """One bit, in the largest file: of the arrays."""
    path = max(folder.rglob("d/*"), key=lambda path: path.stat().st_size)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def drop_half(folder):
    for path in [path for path in folder.rglob("*") if path.is_file()][::2]:
        path.unlink()


def flip_position(folder):
    path = folder / "position" / "metadata"
    path.write_text(path.read_text().replace(folder.name, "3"))  # JSON all the same


DAMAGES = [cut, flip, drop_half, drop_index, drop_data, drop_manifest, flip_position]


def restore(folder):
    with checkpoints.Checkpoints(folder) as saved:
        return saved.restore(variables(0), training(0))


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_run_goes_on_from_the_newest_checkpoint_that_is_whole(run, damage):
    damage(run / "checkpoints" / "4")
    content = listing(run / "checkpoints" / "4")
    restored = restore(run)
    (line,) = restored.lines
    assert (restored.step, restored.position) == (2, {"next_batch": 2})
    expected = variables(2), training(2)
    jax.tree.map(np.testing.assert_array_equal, restored[:2], expected)
    assert line.startswith(f"{run}/checkpoints/4: damaged checkpoint (")
    assert line.endswith(f"; moved to {run}/damaged/4, the run goes on from step 2")
    assert listing(run / "damaged" / "4") == content  # nothing is thrown away
    assert checkpoints.latest_step(run) == 2


def listing(folder):
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder): path.read_bytes() for path in files}


def test_the_step_is_saved_again_and_damaged_again(run):
    for name in ("4", "4-2", "4-3"):
        cut(run / "checkpoints" / "4")
        with checkpoints.Checkpoints(run) as saved:
            saved.restore(variables(0), training(0))
            saved.save(4, variables(4), training(4), {"next_batch": 4})
        assert (run / "damaged" / name).is_dir()
    restored = restore(run)
    assert (restored.step, restored.lines) == (4, ())


def test_where_no_checkpoint_is_whole_each_is_named_and_none_is_moved(run):
    cut(run / "checkpoints" / "4")
    drop_half(run / "checkpoints" / "2")
    with pytest.raises(UserError) as caught:
        restore(run)
    four, two, remedy = str(caught.value).split("; ")
    assert four.startswith(f"{run}/checkpoints/4: damaged checkpoint (")
    assert two.startswith(f"{run}/checkpoints/2: damaged checkpoint (")
    assert remedy == "with their folders moved elsewhere the run begins anew"
    assert checkpoints.saved_steps(run)[0] == [2, 4]


def test_a_checkpoint_of_another_network_is_not_passed_over(run):
    with (
        checkpoints.Checkpoints(run) as saved,
        pytest.raises(UserError, match=r"checkpoints/4.*another network"),
    ):
        saved.restore({"params": {}}, training(0))
    assert checkpoints.latest_step(run) == 4


def test_the_last_two_are_kept_and_each_is_written_down(run):
    with checkpoints.Checkpoints(run) as saved:
        for step in (5, 7, 9):
            saved.save(step, variables(step), training(step), {"next_batch": step})
        saved.save_best(8, variables(8))
    assert checkpoints.saved_steps(run) == ([7, 8, 9], 8)
    for folder in ("checkpoints/7", "checkpoints/9", "best/8"):
        call = ["sha256sum", "--check", "--strict", "--quiet", layout.CHECKSUMS]
        subprocess.run(call, cwd=run / folder, check=True)
    flip(run / "best" / "8")
    with pytest.raises(UserError, match=r"best/8: damaged checkpoint .*other content"):
        checkpoints.restore_variables(run)


def test_a_checkpoint_without_checksums_is_taken_if_it_can_be_read(run):
    """One of an earlier version, or of a process that was killed right after it."""
    (run / "checkpoints" / "4" / layout.CHECKSUMS).unlink()
    restored = restore(run)
    assert (restored.step, restored.lines) == (4, ())


def test_what_a_killed_save_left_is_gone_and_the_next_save_happens(run):
    left = run / "checkpoints" / "6.orbax-checkpoint-tmp"
    shutil.copytree(run / "checkpoints" / "4", left)
    with checkpoints.Checkpoints(run) as saved:
        assert saved.latest_step() == 4
        saved.save(6, variables(6), training(6), {"next_batch": 6})
        assert not left.exists()
    assert restore(run).step == 6


def test_a_full_disk_is_one_line_and_leaves_the_checkpoint_before(run):
    """No file may grow beyond some bytes: the system says no as on a full disk."""
    large = {"params": {"kernel": jax.random.normal(jax.random.key(0), (600, 600))}}
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    with checkpoints.Checkpoints(run) as saved:
        resource.setrlimit(resource.RLIMIT_FSIZE, (2**18, limits[1]))
        try:
            with pytest.raises(OSError, match="File too large") as caught:
                saved.save(6, large, training(6), {"next_batch": 6})
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert caught.value.filename == f"{run}/checkpoints"
    assert restore(run).step == 4
    with checkpoints.Checkpoints(run) as saved:
        saved.save(6, variables(6), training(6), {"next_batch": 6})
    assert restore(run).step == 6


def test_a_damaged_best_is_not_passed_over(run):
    assert checkpoints.choose_step(run) == 2
    drop_index(run / "best" / "2")
    with pytest.raises(UserError, match=r"best/2: damaged, .*there are 4") as caught:
        checkpoints.choose_step(run)
    assert "\n" not in str(caught.value)
    assert checkpoints.choose_step(run, 4) == 4
