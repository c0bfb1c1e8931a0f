"""Run folders, data and weights of others: nothing of them is run, none has no end."""

import io
import json
import os
import pickle
import sys
import zipfile

import numpy as np
import pytest
from verdict import assert_one_line, call

from resseg.data import counts
from resseg.data.records import open_builder
from resseg.errors import UserError
from resseg.interop.files import read_weights
from resseg.runs.autopsy import read_batch
from resseg.runs.checkpoints import restore_variables, save_variables

ESCAPE = "r\x1b[2J\x1b]0;title\x07<script>alert(1)<\u202ecod."
MARK = "a file that is there when it was run"
CODE = f"open({MARK!r}, 'w').close()\n"


@pytest.fixture
def run(tmp_path, fake_run, monkeypatch):
    """A run with code in every name that something might look for, and stood in."""
    folder = tmp_path / ESCAPE
    fake_run(tmp_path / "run")
    (tmp_path / "run").rename(folder)
    for name in ("config.py", "study.py", "conftest.py", "usercustomize.py", "evil.py"):
        (folder / name).write_text(CODE)
    (folder / "config.yaml").write_text("!!python/object/apply:os.mkdir [marked]\n")
    for name in ("config.pkl", "checkpoints", "dataset.pickle"):
        (folder / name).unlink(missing_ok=True)
        (folder / name).write_bytes(pickle.dumps(Marks()))
    monkeypatch.chdir(folder)
    return folder


class Marks:
    """Runs code where it is unpickled."""

    def __reduce__(self):
        return os.mkdir, (MARK,)


def commands(run):
    return (
        ("runs", str(run.parent)),
        ("inspect", str(run)),
        ("report", str(run)),
        ("config", str(run)),
        ("evaluate", str(run)),
        ("predict", str(run), str(run), "--out", str(run / "out")),
        ("autopsy", str(run)),
    )


def assert_no_control(text):
    assert not set(text) & {"\x1b", "\x07", "\u202e"}


def test_no_command_runs_what_lies_in_a_run_or_controls_the_terminal(run):
    done = {}
    for words in commands(run):
        status, out, err = call(*words)
        assert_no_control(out + err)
        done[words[0]] = status
        if status:
            assert_one_line(err)
    assert done["runs"] == done["inspect"] == done["report"] == 0
    assert done["predict"] == done["evaluate"] == 2
    assert not (run / MARK).exists() and not (run / "marked").exists()
    page = (run / "report.html").read_text("utf-8")
    assert "<script>alert" not in page and "&lt;script&gt;alert" in page


DEEP = "[" * 100_000
HOSTILE = {
    "deep": ("config.json", DEEP),
    "no section": ("config.json", '{"__class__": {"x": 1}, "items": 3}'),
    "markup": ("config.json", '{"data": {"name": "\\u001b[2J<script>alert(1)"}}'),
    "deep lines": ("metrics.jsonl", DEEP + "\n"),
    "pipe": ("config.json", None),
    "device": ("metrics.jsonl", "/dev/zero"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_file_of_a_run_is_one_line(run, case):
    name, content = HOSTILE[case]
    (run / name).unlink(missing_ok=True)
    if content is None:
        os.mkfifo(run / name)
    elif content.startswith("/dev"):
        (run / name).symlink_to(content)
    else:
        (run / name).write_text(content)
    for words in commands(run):
        status, out, err = call(*words)
        assert_no_control(out + err)
        assert status in (0, 2)
        if status:
            assert_one_line(err)


@pytest.mark.parametrize("key", ["pythonClassName", "python_class_name", "type"])
def test_the_description_of_a_data_set_names_no_module_to_import(
    tmp_path, monkeypatch, key
):
    (tmp_path / "evil_features.py").write_text("raise SystemExit('it was imported')")
    monkeypatch.syspath_prepend(tmp_path)
    described = {"featuresDict": {"features": {"image": {key: "evil_features.Image"}}}}
    (tmp_path / "features.json").write_text(json.dumps(described))
    (tmp_path / "dataset_info.json").write_text('{"name": "x", "version": "1.0.0"}')
    with pytest.raises(UserError, match=r"features\.json: damaged .*evil_features"):
        open_builder(tmp_path)
    assert "evil_features" not in sys.modules


def bomb(path, name, array):
    """An archive of one array whose zeros take a thousandth of the room."""
    buffer = io.BytesIO()
    np.save(buffer, array)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"{name}.npy", buffer.getvalue())


def test_weights_are_neither_pickles_nor_bombs(tmp_path):
    bomb(tmp_path / "a.npz", "w", np.zeros(20 << 20, np.float32))
    with pytest.raises(UserError, match="would unpack to 80 MiB"):
        read_weights(tmp_path / "a.npz")
    np.savez(tmp_path / "b.npz", w=np.array([Marks()], object))
    with pytest.raises(UserError, match="allow_pickle"):
        read_weights(tmp_path / "b.npz")
    with zipfile.ZipFile(tmp_path / "c.npz", "w") as archive:
        archive.writestr("../../up.npy", b"")
    read_weights(tmp_path / "c.npz")
    assert not (tmp_path.parent.parent / "up.npy").exists()


def test_counts_of_a_data_set_are_neither_pickles_nor_bombs(tmp_path):
    found = counts.Counts(*(np.zeros(3, np.int32) for _ in range(3)))
    counts.store(tmp_path / "a.npz", found)
    assert counts.load(tmp_path / "a.npz") is not None
    bomb(tmp_path / "b.npz", "sizes", np.zeros(1000))
    assert counts.load(tmp_path / "b.npz") is None
    objects = {name: np.array([Marks()], object) for name in vars(found)}
    np.savez(tmp_path / "c.npz", **objects)
    assert counts.load(tmp_path / "c.npz") is None


def test_a_checkpoint_is_read_without_a_pickle(tmp_path, monkeypatch):
    saved = {"params": {"w": np.arange(3.0, dtype=np.float32)}}
    save_variables(tmp_path, saved)

    def refuse(*_):
        raise AssertionError("a checkpoint was unpickled")

    for name in ("load", "loads", "Unpickler", "_Unpickler"):
        monkeypatch.setattr(pickle, name, refuse)
    found = restore_variables(tmp_path)
    np.testing.assert_array_equal(found["params"]["w"], saved["params"]["w"])


def test_the_batch_of_an_autopsy_is_no_bomb(tmp_path):
    (tmp_path / "autopsy").mkdir()
    bomb(tmp_path / "autopsy" / "batch.npz", "image", np.zeros((1, 512, 512, 3)))
    with pytest.raises(UserError, match=r"batch\.npz: damaged \(image is larger"):
        read_batch(tmp_path, (1, 2, 2))
