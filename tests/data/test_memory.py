"""Decoded images in memory: each once, within a bound, and the same as from files."""

import pickle

import numpy as np
import pytest

from resseg.data import memory
from resseg.data.memory import Kept

EACH = 8 * 10 * 4  # bytes of an example: three channels and a mask


class Source:
    """A split that writes down what it decodes."""

    def __init__(self, count=10):
        self.count, self.decoded = count, []

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        self.decoded.append(index)
        image = np.full((8, 10, 3), index, np.uint8)
        return {"image": image, "mask": np.zeros((8, 10), np.uint8), "name": "n"}


@pytest.fixture(autouse=True)
def alone(monkeypatch):
    """Without what loaders of other tests may hold."""
    monkeypatch.setattr(memory, "_splits", type(memory._splits)())


def read(kept, epochs=2):
    for _ in range(epochs):
        for index in range(len(kept)):
            assert (kept[index]["image"] == index).all()


def test_each_image_is_decoded_once():
    source = Source()
    read(Kept(source, 10 * EACH))
    assert source.decoded == list(range(10))


def test_what_the_bound_has_no_room_for_is_read_again():
    source = Source()
    read(Kept(source, 4 * EACH + 1), epochs=3)
    assert source.decoded == [*range(10), *range(4, 10), *range(4, 10)]


def test_none_is_kept_where_the_bound_is_0():
    source = Source()
    read(Kept(source, 0))
    assert source.decoded == 2 * list(range(10))


def test_splits_of_a_process_share_the_bound():
    first, second = Source(6), Source(6)
    one, two = Kept(first, 10 * EACH), Kept(second, 10 * EACH)
    read(one), read(two)
    assert first.decoded == list(range(6))
    assert second.decoded == [*range(6), 4, 5]
    one.forget()
    read(two, epochs=3)
    assert second.decoded == [*range(6), 4, 5, 4, 5]
    read(one)  # what it gave back is taken: 4 of 6 fit
    assert first.decoded == [*range(6), *range(6), 4, 5]
    del two
    read(one)
    assert first.decoded == [*range(6), *range(6), 4, 5, 4, 5]


def test_what_is_kept_cannot_be_changed():
    kept = Kept(Source(), EACH)
    for index in (0, 9):  # kept, and not
        for name in ("image", "mask"):
            with pytest.raises(ValueError, match="read-only"):
                kept[index][name][0] = 1


def test_another_process_is_sent_the_split_and_no_pixels():
    kept = Kept(Source(), 20 * EACH)
    empty = len(pickle.dumps(kept))
    read(kept, epochs=1)
    kept._source.decoded.clear()
    assert len(pickle.dumps(kept)) == empty
    again = pickle.loads(pickle.dumps(kept))
    read(again)
    assert again._source.decoded == list(range(10))
