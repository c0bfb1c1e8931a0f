"""A split is evaluated with one batch ahead of what the host does."""

import numpy as np

from resseg import sharding
from resseg.inference.evaluator import run_ahead


def test_a_batch_is_handed_out_when_the_next_is_under_way():
    met = []

    def batches():
        for number in range(3):
            met.append(f"read {number}")
            image = np.full((1, 2, 2, 3), number, np.float32)
            yield {"image": image, "label": np.zeros((1, 2, 2), np.int32)}

    def step(variables, batch):
        number = int(batch["image"].max())
        met.append(f"computed {number}")
        return (number + variables["one"],)

    for batch, (result,) in run_ahead(
        step, {"one": 1}, batches(), sharding.make_mesh(1)
    ):
        met.append(f"handed {int(batch['image'].max())}")
        assert result == batch["image"].max() + 1
    assert met == [
        *("read 0", "computed 0", "read 1", "computed 1", "handed 0"),
        *("read 2", "computed 2", "handed 1", "handed 2"),
    ]


def test_of_no_batch_there_is_none():
    assert list(run_ahead(None, {}, [], sharding.make_mesh(1))) == []
