"""What of a step can be found not to be finite, and in which words that is said."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from resseg.data.spec import VOID

# What the signal passes, in its order.
STAGES = (
    *("image", "label", "parameter", "coefficient", "statistic"),
    *("forward", "loss", "backward", "optimizer", "average", "update"),
)
_SQUARES = 2  # column of a tally
Named = tuple[str, str]  # a part, and how much of it is not finite


class Fault(NamedTuple):
    """The first part of a stage that is not finite.

    Attributes:
        stage: one of `STAGES`.
        name: of the part: an image, an array of the state, a module, a fork.
        detail: how much of it is not finite.
    """

    stage: str
    name: str
    detail: str

    def __str__(self) -> str:
        return f"{self.stage} {self.name}: {self.detail}"


def words(tally: np.ndarray, size: int) -> str:
    """How much of an array is not finite.

    Args:
        tally: `[3]`: NaN, infinite entries, 1 if the squares of the others overflow.
        size: of the array.
    """
    counts = zip(tally[:_SQUARES], ("NaN", "infinite"), strict=True)
    parts = [f"{count} {word}" for count, word in counts if count]
    if not parts:
        return "finite, but its squares add up to more than float32 holds"
    return f"{', '.join(parts)} of {size:,} entries"


def has_entries(tally: np.ndarray) -> bool:
    """Whether entries are not finite, and not only the sum of their squares."""
    return bool(tally[:_SQUARES].any())


def image_fault(image: jax.Array) -> Named | None:
    """The first image of a batch with an entry that is not finite, and its device."""
    for shard in image.addressable_shards:
        first = shard.index[0].start or 0
        for offset, values in enumerate(np.asarray(shard.data)):
            tally = _host_tally(values)
            if tally.any():
                where = _device(image, shard)
                return f"{first + offset} of the batch{where}", words(
                    tally, values.size
                )
    return None


def label_fault(label: np.ndarray, classes: int) -> Named | None:
    """The first label of a batch that is neither a class nor void."""
    strays = (label != VOID) & ((label < 0) | (label >= classes))
    for index, stray in enumerate(strays):
        if stray.any():
            values = np.unique(label[index][stray])[:4].tolist()
            return f"{index} of the batch", (
                f"{stray.sum()} pixels are neither a class nor void: {values}"
            )
    return None


def loss_fault(value: np.ndarray, terms: Mapping[str, np.ndarray]) -> Named | None:
    """The terms of a loss that are not finite."""
    if np.isfinite(value):
        return None
    names = [name for name, term in terms.items() if not np.isfinite(term)]
    return ", ".join(names) or "their sum", str(float(value))


def state_fault(tree: Any) -> Named | None:
    """The first array of a part of a state, on whichever device it is not finite."""
    for name, leaf in named_leaves(tree):
        for shard in leaf.addressable_shards:
            tally = _host_tally(np.asarray(shard.data))
            if tally.any():
                alone = all(
                    not _host_tally(np.asarray(other.data)).any()
                    for other in leaf.addressable_shards
                    if other.device != shard.device
                )
                where = _device(leaf, shard) if alone else ""
                return f"{name}{where}", words(tally, leaf.size)
    return None


def named_leaves(tree: Any) -> Iterator[tuple[str, Any]]:
    """Arrays by path, without the places in the chain of an optimizer."""
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        words = jax.tree_util.keystr(path, simple=True, separator="/").split("/")
        yield "/".join(word for word in words if not word.isdigit()), leaf


def _host_tally(values: np.ndarray) -> np.ndarray:
    values = values.astype(np.float32)
    return np.array([np.isnan(values).sum(), np.isinf(values).sum(), 0])


def _device(array: jax.Array, shard: Any) -> str:
    devices = sorted(array.sharding.device_set, key=lambda device: device.id)
    if len(devices) == 1:
        return ""
    return f" (device {devices.index(shard.device)} of {len(devices)})"
