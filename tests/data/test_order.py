"""Order and random numbers are grain's, whatever is found faster."""

import copy
import pickle

import grain
import numpy as np
import pytest

from resseg.data import order
from resseg.data.order import Numbers, Order, permutation


def by_grain(images: int, seed: int) -> grain.MapDataset:
    return grain.MapDataset.range(images).seed(seed).shuffle().repeat()


@pytest.mark.parametrize("seed", [0, 7, 2**32 - 1])
@pytest.mark.parametrize("images", [1, 2, 10, 474, 2**16 - 1, 2**16, 2**16 + 1])
def test_the_order_is_that_of_grain(images, seed):
    found, expected = Order(images, seed), by_grain(images, seed)
    for epoch in (0, 1, 1000):
        for place in (*range(min(images, 20)), images - 1):
            position = epoch * images + place
            assert found[position] == expected[position]


def test_an_epoch_has_each_image_once():
    for images in (1, 2, 3, 100, 2**16):
        assert np.array_equal(np.sort(permutation(images, 5)), np.arange(images))


def test_an_epoch_is_shuffled_once_and_few_are_kept(monkeypatch):
    shuffled = []

    def count(images, seed):
        shuffled.append(seed)
        return permutation(images, seed)

    monkeypatch.setattr(order, "permutation", count)
    found, expected = Order(10, 3), by_grain(10, 3)
    positions = [*range(80), *range(5)]
    assert [found[at] for at in positions] == [expected[at] for at in positions]
    assert len(shuffled) == 9  # of eight epochs, the first again
    assert len(found._epochs) <= 4


def test_another_process_has_the_same_order():
    found = Order(10, 3)
    assert [pickle.loads(pickle.dumps(found))[at] for at in range(30)] == [
        copy.copy(found)[at] for at in range(30)
    ]


def test_random_numbers_are_those_of_a_random_map():
    def draw(_, rng):
        return rng.random(), rng.integers(100), rng.random(), rng.integers(2**40)

    expected = by_grain(10, 3).random_map(draw)
    numbers = Numbers(3)
    for position in (0, 1, 5, 123456, 2**40):
        assert draw(None, numbers.at(position)) == expected[position]
