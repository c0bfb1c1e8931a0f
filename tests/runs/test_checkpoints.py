"""Checkpoints whose files are damaged: one line that names them, and the way out."""

import os
import shutil
import sys
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from resseg.errors import UserError
from resseg.runs import checkpoints, damage


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


@pytest.mark.parametrize(
    ("steps", "remedy"),
    [((2, 4), "the run goes on from step 2"), ((4,), "the run begins anew")],
)
def test_a_run_that_cannot_go_on_says_what_to_move(run, steps, remedy):
    if 2 not in steps:
        shutil.rmtree(run / "checkpoints" / "2")
    cut(run / "checkpoints" / "4")
    with pytest.raises(
        UserError, match=f"checkpoints/4: damaged .*; with its folder moved .* {remedy}"
    ):
        checkpoints.Checkpoints(run).restore(variables(0), training(0))
    shutil.rmtree(run / "checkpoints" / "4")
    saved = checkpoints.Checkpoints(run)
    assert saved.latest_step() == (2 if 2 in steps else None)
    if 2 in steps:
        restored = saved.restore(variables(0), training(0))
        assert restored.position == {"next_batch": 2}
        expected = variables(2), training(2)
        jax.tree.map(np.testing.assert_array_equal, restored[:2], expected)


def test_a_damaged_best_is_not_passed_over(run):
    assert checkpoints.choose_step(run) == 2
    drop_index(run / "best" / "2")
    with pytest.raises(UserError, match=r"best/2: damaged, .*there are 4") as caught:
        checkpoints.choose_step(run)
    assert "\n" not in str(caught.value)
    assert checkpoints.choose_step(run, 4) == 4
