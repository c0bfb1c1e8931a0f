"""The benchmark of input: that both sides are asked for the same, and ours reads it."""

import numpy as np
import pytest

from benchmarks import input, readers
from benchmarks.readers import Setting, Task
from resseg.data import sources


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)

    def examples():
        for index in range(20):
            image = rng.integers(0, 256, (40, 48, 3), dtype=np.uint8)
            yield {"image": image, "mask": image[..., 0] % 2, "name": f"n{index}"}

    sources.write_dataset(folder, "small", ("a", "b"), {"train": examples})
    return folder


@pytest.fixture(scope="module")
def task(prepared, tmp_path_factory):
    files = input.export(str(prepared), "small", tmp_path_factory.mktemp("files"))
    return Task(str(prepared), "small", files, batch=4, crop=32, down=True)


@pytest.mark.parametrize("memory", [False, True])
def test_the_peer_gets_every_image_and_mask(task, memory):
    images = readers.Images(task.files, dict, memory)
    assert len(images) == 20
    for index in range(20):
        image, mask = images[index]
        assert image.shape == (40, 48, 3)
        assert np.array_equal(mask, image[..., 0] % 2)


@pytest.mark.parametrize("memory", [False, True])
def test_ours_reads_batches_of_the_task(task, memory):
    batches = readers.ours(task, Setting(memory=memory, threads=1))
    batch = next(batches)
    batches.close()
    assert batch["image"].shape == (4, 32, 32, 3)
    assert batch["image"].dtype == np.float32
    assert set(np.unique(batch["label"])) == {0, 1}
