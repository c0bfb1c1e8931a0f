"""Images that cannot be read: replaced by a rule of the index alone, or one line."""

import multiprocessing
import os
import re
import signal

import numpy as np
import pytest

from resseg.config import base
from resseg.data import pipeline, sources
from resseg.data.replacing import REPLACES, Replacing
from resseg.errors import UserError

COUNT = 24


class Source:
    """Examples that are their index; some cannot be read."""

    def __init__(self, bad, count=6):
        self.bad, self.count = bad, count

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        if index in self.bad:
            raise UserError(f"image {index} is damaged")
        return {"mask": index}


@pytest.mark.parametrize(
    ("bad", "masks"),
    [
        ((), [0, 1, 2, 3, 4, 5]),
        ((2,), [0, 1, 3, 3, 4, 5]),
        ((1, 2, 5), [0, 3, 3, 3, 4, 0]),
    ],
)
def test_the_next_one_that_can_be_read_takes_its_place(bad, masks):
    replacing = Replacing(Source(bad))
    examples = [replacing[index] for index in range(len(replacing))]
    assert [example["mask"] for example in examples] == masks
    replaced = [example[REPLACES] for example in examples]
    assert replaced == [index if index in bad else -1 for index in range(6)]
    assert all(replacing.fault(index) == f"image {index} is damaged" for index in bad)
    assert replacing.fault(0) == "image 0 could not be read at first"


@pytest.mark.parametrize(("count", "tried"), [(6, 6), (200, 100)])
def test_where_none_can_be_read_that_is_said(count, tried):
    replacing = Replacing(Source(range(count), count))
    message = f"{tried} images in a row cannot be read, the first: image 3 is damaged"
    with pytest.raises(UserError, match=message):
        replacing[3]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A data set in which a block of the file is overwritten after it was written."""
    folder = tmp_path_factory.mktemp("data")

    def record(index):
        draw = np.random.default_rng(index)
        image = draw.integers(0, 256, (64, 64, 3), dtype=np.uint8)
        mask = draw.integers(0, 2, (64, 64), dtype=np.uint8)
        return {"image": image, "mask": mask, "name": f"n{index}"}

    splits = {"train": lambda: map(record, range(COUNT))}
    sources.write_dataset(folder, "noise", ("a", "b"), splits)
    (file,) = folder.rglob("*train.array_record*")
    with open(file, "r+b") as records:
        records.seek(file.stat().st_size // 2)
        records.write(b"\x5a" * 400)
    return folder


@pytest.fixture
def data(folder):
    data = base.get_config().data
    data.update({"name": "noise", "dir": str(folder), "batch_size": 4})
    data.update({"crop": (32, 32), "on_error": "skip"})
    return data


def take(data, count, start=0):
    loader = pipeline.TrainLoader(data, 3)
    loader.restore({"next_batch": start})
    batches = [next(loader) for _ in range(count)]
    replaced = dict(loader.replaced)
    loader.close()
    return batches, replaced


def assert_equal(left, right):
    for one, other in zip(left, right, strict=True):
        assert set(one) == set(other) == {"image", "label"}
        np.testing.assert_array_equal(one["image"], other["image"])
        np.testing.assert_array_equal(one["label"], other["label"])


def test_batches_and_what_is_named_are_the_same_after_a_restore(data):
    batches, replaced = take(data, 12)
    (index,) = replaced
    assert re.search(r"noise-train\.array_record\S+: damaged \(", replaced[index])
    rest, again = take(data, 6, start=6)
    assert_equal(rest, batches[6:])
    assert again == replaced
    data.threads = 0
    assert_equal(take(data, 12)[0], batches)


def test_only_the_crops_of_that_image_are_others(data):
    """What can be read is what it is where nothing is replaced."""
    batches, (index,) = take(data, 6)
    source = sources.open_split(data, "train")
    data.on_error = "stop"
    whole = pipeline.TrainLoader(data, 3)
    whole._kept._source = Whole(source, index)
    same = [
        [
            np.array_equal(a, b)
            for a, b in zip(one["image"], other["image"], strict=True)
        ]
        for one, other in zip(batches, [next(whole) for _ in range(6)], strict=True)
    ]
    whole.close()
    assert sum(map(sum, same)) == COUNT - 1


class Whole:
    """A split whose damaged image is black."""

    def __init__(self, source, index):
        self._source, self._index = source, index

    def __len__(self):
        return COUNT

    def __getitem__(self, index):
        if index != self._index:
            return self._source[index]
        black = np.zeros((64, 64, 3), np.uint8)
        return {"image": black, "mask": black[..., 0].copy(), "name": "black"}


def test_stop_is_one_line_that_names_the_file(data):
    data.on_error = "stop"
    with pytest.raises(UserError, match=r"noise-train\.array_record\S+: damaged \("):
        take(data, 6)


@pytest.mark.parametrize(
    "workers", [2, *(pytest.param(n, marks=pytest.mark.slow) for n in (1, 4))]
)
def test_workers_replace_the_same_and_one_that_dies_is_named(data, workers):
    expected, replaced = take(data, 12)
    data.workers = workers
    loader = pipeline.TrainLoader(data, 3)
    assert_equal([next(loader) for _ in range(8)], expected[:8])
    assert loader.replaced == replaced
    for worker in multiprocessing.active_children():
        os.kill(worker.pid, signal.SIGINT)  # as a terminal does; they say nothing
    assert_equal([next(loader) for _ in range(4)], expected[8:])
    assert len(multiprocessing.active_children()) == workers
    victim = multiprocessing.active_children()[0]
    os.kill(victim.pid, signal.SIGKILL)
    message = (
        rf"config\.data\.workers={workers}: worker process {victim.pid} was ended by "
        "SIGKILL, as the system does where memory is short; the same command goes on"
    )
    with pytest.raises(UserError, match=message):
        for _ in range(100):
            next(loader)
    loader.close()
