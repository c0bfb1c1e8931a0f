"""Which images are evaluated and predicted in a batch."""

from typing import NamedTuple

import numpy as np

_EVAL_AREA = 512 * 512  # pixels; larger images are evaluated in smaller batches


class PlannedBatch(NamedTuple):
    """A batch of images of one padded size.

    Attributes:
        images: of the batch, those included that fill it up.
        height, width: padded, pixels.
        indices: of the images in it, among those that were planned.
    """

    images: int
    height: int
    width: int
    indices: list[int]


def plan_batches(
    sizes: np.ndarray, multiple: int, batch_size: int
) -> list[PlannedBatch]:
    """How images of any sizes are evaluated and predicted.

    The padded size of an image follows from its own size alone: what else is
    predicted beside it changes no prediction. Those of equal padded size share batches,
    and all batches of a padded size have one shape: each shape compiles once. Batches
    are smaller for images beyond 512 x 512.

    Args:
        sizes: int `[images, 2]`, height and width.
        multiple: that height and width of a batch are divisible by.
        batch_size: of images up to 512 x 512, at most.
    """
    padded = -(-np.asarray(sizes) // multiple) * multiple
    plan = []
    for height, width in np.unique(padded, axis=0).tolist():
        members = np.flatnonzero((padded == (height, width)).all(axis=1)).tolist()
        most = batch_size * _EVAL_AREA // (height * width)
        most = min(batch_size, max(1, most))
        # As many batches as it takes, but no larger than it takes: less is filled up.
        count = -(-len(members) // -(-len(members) // most))
        for start in range(0, len(members), count):
            indices = members[start : start + count]
            plan.append(PlannedBatch(count, height, width, indices))
    return plan
