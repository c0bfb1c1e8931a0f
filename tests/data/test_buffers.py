"""Memory of batches is used again, and never while somebody still looks at it."""

import pickle
import threading

import jax
import numpy as np
import pytest

from resseg.data.buffers import Buffers

SHAPE = (4, 8, 8, 3)


def filled(buffers, value):
    array = buffers.empty(SHAPE, np.float32)
    array[...] = value
    return array


def address(array):
    return array.__array_interface__["data"][0]


def test_memory_is_used_again():
    buffers = Buffers()
    first = filled(buffers, 1)
    place = address(first)
    second = filled(buffers, 2)
    assert address(second) != place and (first == 1).all()
    del first
    assert address(buffers.empty(SHAPE, np.float32)) == place
    assert address(buffers.empty((4, 8, 8), np.int32)) != place  # of another size


@pytest.mark.parametrize(
    "look",
    [
        lambda array: array[1],
        lambda array: array.reshape(-1)[::2][3:],
        lambda array: array.view(np.int32)[0],
        lambda array: np.asarray(memoryview(array)),
        jax.device_put,
        lambda array: jax.jit(lambda x: x)(array),
    ],
)
def test_whoever_looks_at_an_array_keeps_it(look):
    buffers = Buffers()
    array = filled(buffers, 3.0)
    seen = look(array)
    expected = np.array(seen)
    del array
    later = [filled(buffers, number) for number in range(5)]
    assert np.array_equal(np.asarray(seen), expected)
    del seen, later
    places = {address(filled(buffers, 0)) for _ in range(9)}
    assert len(places) == 1  # all of it came back


def test_threads_never_share_an_array():
    buffers, wrong = Buffers(), []

    def work(value):
        for _ in range(300):
            array = filled(buffers, value)
            if not (array == value).all():
                wrong.append(value)

    threads = [threading.Thread(target=work, args=(value,)) for value in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    # A thread takes the next array while it still has the one before.
    assert len(buffers._free[4 * np.prod(SHAPE)]) <= 8


def test_another_process_gets_no_memory():
    buffers = Buffers()
    filled(buffers, 1)
    assert len(pickle.dumps(buffers)) < 200
