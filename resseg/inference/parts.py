"""What of a batch that is evaluated a process reads, and puts on its devices."""

from collections.abc import Callable

import numpy as np

from resseg.data import VOID
from resseg.processes.group import Group


def part_of(group: Group, devices: int, whole: bool) -> "Part":
    """The part of this process.

    Args:
        group: of the processes that evaluate together.
        devices: of all of them.
        whole: whether the first reads all images, and counts for the others too.
    """
    if group.processes == 1:
        return Part()
    if whole and group.leads:
        return _OfAll(group, devices)
    return _Own(group, devices, counts=not whole)


class Part:
    """Of each batch all, for a process alone.

    Attributes:
        rows: of a batch, which are read; None = all.
        of: see `run_ahead`.
        counts: whether this process counts what it reads.
    """

    rows: Callable[[int], slice] | None = None
    of: Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]] | None = None
    counts = True

    def first(self, read: int) -> int:
        """Which row of the outputs is that of the first of the images read."""
        return 0


class _Own(Part):
    """Of each batch the part that is on devices of this process."""

    def __init__(self, group: Group, devices: int, *, counts: bool):
        self._group, self._devices, self.counts = group, devices, counts
        self.rows, self.of = self._rows, dict

    def _rows(self, images: int) -> slice:
        filled = images + -images % self._devices
        each = filled // self._group.processes
        return slice(self._group.process * each, (self._group.process + 1) * each)

    def first(self, read: int) -> int:
        return self._group.process * read


class _OfAll(_Own):
    """Reads all of it, and puts on devices the part of this process."""

    def __init__(self, group: Group, devices: int):
        super().__init__(group, devices, counts=True)
        self.rows, self.of = None, self._cut

    def _cut(self, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        rows = self._rows(len(arrays["image"]))
        filled = fill(arrays, self._devices)
        return {name: array[rows] for name, array in filled.items()}

    def first(self, read: int) -> int:
        return 0


def fill(batch: dict[str, np.ndarray], multiple: int) -> dict[str, np.ndarray]:
    """Adds all-void images until the devices share the batch evenly."""
    missing = -len(batch["image"]) % multiple
    if not missing:
        return batch
    values = {"image": 0.0, "label": VOID}
    return {
        name: np.pad(
            array,
            [(0, missing), *[(0, 0)] * (array.ndim - 1)],
            constant_values=values[name],
        )
        for name, array in batch.items()
    }
