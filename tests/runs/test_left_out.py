"""What a run leaves out of its data, and its autopsy: what is read back is checked."""

import json

import numpy as np
import pytest

from resseg.errors import UserError
from resseg.runs import layout
from resseg.runs.autopsy import read_batch, read_facts
from resseg.runs.dropped import Dropped, read_dropped, write_dropped
from resseg.runs.unread import read_unread, write_unread

FACTS = {"step": 3, "batch": 2, "said": "s", "first": "f", "faults": [], "devices": 1}


def test_lists_come_back(tmp_path):
    assert read_dropped(tmp_path) == [] and read_unread(tmp_path) == {}
    batches = [Dropped(1, 2, "loss nan"), Dropped(7, 7, "loss inf")]
    write_dropped(tmp_path, batches)
    write_unread(tmp_path, {12: "damaged", 3: "cut short"})
    assert read_dropped(tmp_path) == batches
    assert read_unread(tmp_path) == {3: "cut short", 12: "damaged"}


@pytest.mark.parametrize(
    ("name", "read"),
    [
        (layout.DROPPED, read_dropped),
        (layout.UNREAD, read_unread),
        (f"{layout.AUTOPSY}/autopsy.json", read_facts),
    ],
)
@pytest.mark.parametrize(
    "content",
    [
        *("{}", "[]", '{"batches": [{"batch": "x"}], "images": {"x": "y"}}'),
        *('{"batches": 1, "images": []}', json.dumps(FACTS | {"step": None})),
    ],
)
def test_a_list_of_other_values_is_one_line(tmp_path, name, read, content):
    file = tmp_path / name
    file.parent.mkdir(exist_ok=True)
    file.write_text(content)
    with pytest.raises(UserError, match="holds other values than resseg writes; rest"):
        read(tmp_path)


@pytest.fixture
def batch(tmp_path):
    """`batch(image, label)` writes the batch of an autopsy; returns the run folder."""
    (tmp_path / layout.AUTOPSY).mkdir()

    def write(image, label):
        file = tmp_path / layout.AUTOPSY / "batch.npz"
        np.savez_compressed(file, image=image, label=label)
        return tmp_path

    return write


def test_a_batch_comes_back(batch):
    image = np.full((2, 4, 6, 3), np.nan, np.float32)
    folder = batch(image, np.zeros((2, 4, 6), np.int32))
    found = read_batch(folder, (2, 4, 6))
    assert np.isnan(found["image"]).all() and found["label"].shape == (2, 4, 6)


@pytest.mark.parametrize(
    ("image", "label", "reason"),
    [
        (np.zeros((2, 4000, 4000, 3), np.float32), np.zeros((2, 4, 6)), "larger than"),
        (np.zeros((2, 4, 6, 3)), np.zeros((2, 4, 6), np.int32), "image is not float32"),
        (np.zeros((1,), np.float32), np.zeros((2, 4, 6), np.int32), r"\(2, 4, 6, 3\)"),
        (np.zeros((1,), object), np.zeros((2, 4, 6), np.int32), "allow_pickle=False"),
    ],
)
def test_a_batch_that_would_not_fit_is_not_read(batch, image, label, reason):
    with pytest.raises(UserError, match=rf"batch\.npz: damaged \(.*{reason}"):
        read_batch(batch(image, label), (2, 4, 6))


def test_a_batch_that_is_cut_short_is_damaged(batch):
    folder = batch(np.zeros((2, 4, 6, 3), np.float32), np.zeros((2, 4, 6), np.int32))
    file = folder / layout.AUTOPSY / "batch.npz"
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(UserError, match=r"batch\.npz: damaged \("):
        read_batch(folder, (2, 4, 6))
