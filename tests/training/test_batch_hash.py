"""The hash of a batch: of what the step saw, and of nothing else."""

import jax
import numpy as np
import pytest

from resseg import sharding
from resseg.training.batch_hash import as_text, batch_hash

SHAPE = (8, 19, 12)


@pytest.fixture(scope="module")
def batch():
    draw = np.random.default_rng(0)
    return {
        "image": draw.normal(size=(*SHAPE, 3)).astype(np.float32),
        "label": draw.integers(0, 256, SHAPE).astype(np.int32),
    }


def by_numpy(batch):
    def summed(entries):
        place = np.arange(entries.size, dtype=np.uint32).reshape(entries.shape)
        mixed = (entries ^ (place * np.uint32(0x9E3779B1))) * np.uint32(0x85EBCA6B)
        mixed = (mixed ^ (mixed >> np.uint32(15))) * np.uint32(0xC2B2AE35)
        return int(mixed.sum(dtype=np.uint32))

    image = np.ascontiguousarray(batch["image"][:, ::8]).view(np.uint32)
    label = batch["label"][:, ::8].astype(np.uint32)
    return (summed(image) * 0x9E3779B1 + summed(label)) % 2**32


def hash_on(batch, devices=1):
    split = sharding.by_batch(sharding.make_mesh(devices))
    return int(jax.jit(batch_hash)(sharding.put_batch(batch, split)))


def test_its_value_is_that_of_every_version(batch):
    assert hash_on(batch) == by_numpy(batch)
    assert as_text(0xAB) == "000000ab"


@pytest.mark.parametrize("devices", [2, 4])
def test_devices_do_not_show(batch, devices):
    assert hash_on(batch, devices) == hash_on(batch)


def test_another_batch_has_another(batch):
    image, label = batch["image"], batch["label"]
    others = {
        "order": {name: array[::-1] for name, array in batch.items()},
        "order of two": {"image": image[[1, 0, *range(2, 8)]], "label": label},
        "flipped": {name: array[:, :, ::-1] for name, array in batch.items()},
        "shifted": {name: np.roll(array, 1, 1) for name, array in batch.items()},
        "color": {"image": image * np.float32(1.001), "label": label},
        "label": {"image": image, "label": np.where(label == 3, 4, label)},
        "sign of zero": {"image": image * np.float32(0), "label": label},
        "zero": {"image": np.abs(image * np.float32(0)), "label": label},
    }
    assert len({hash_on(other) for other in [batch, *others.values()]}) == 9
