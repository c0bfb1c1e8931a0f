"""Batches: endless and shuffled for training, one exact pass for evaluation."""

import multiprocessing
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import grain
import numpy as np

from resseg.data import workers
from resseg.data.batches import Batches
from resseg.data.counts import median_frequency_weights
from resseg.data.memory import MIB, Kept
from resseg.data.normalization import Normalizer, denormalize
from resseg.data.planning import PlannedBatch, plan_batches
from resseg.data.replacing import REPLACES, SKIP, Replacing
from resseg.data.sources import count_split, open_split
from resseg.data.spec import VOID
from resseg.data.transforms import make_train_transform
from resseg.errors import UserError

__all__ = [
    "PlannedBatch",
    "TrainLoader",
    "class_pixels",
    "denormalize",
    "eval_batches",
    "median_frequency_weights",
    "padded_batch",
    "plan_batches",
    "rare_classes",
]

BEGINNING = {"next_batch": 0}  # of the data, as a position of `TrainLoader`


class TrainLoader:
    """Endless iterator over training batches.

    A batch is a function of the configuration, the seed and its number alone: not of
    threads, of workers, or of what was read before. So the position is one number, and
    a run may go on with other `threads` and `workers` than it began with.

    Attributes:
        replaced: images of batches so far that were; why, by index. See `Replacing`.

    Each item is a dict with `image`, float32 `[batch, height, width, 3]`, normalised,
    and `label`, int32 `[batch, height, width]`.
    """

    def __init__(
        self,
        data_config,
        seed: int,
        *,
        process_index: int = 0,
        process_count: int = 1,
    ):
        """Opens the data set; reads nothing yet.

        Args:
            data_config: the `data` section of a config.
            seed: of order and augmentation.
            process_index: of this process among those that share each batch.
            process_count: of the processes; each gets its share of `batch_size`.

        Raises:
            UserError: the data set is not prepared, its split is smaller than a
                batch, or workers would run the script that starts them.
        """
        workers.leave_if_starting()
        workers.check_script(data_config.workers)
        source = open_split(data_config, data_config.split)
        size = data_config.batch_size
        if len(source) < size:
            raise UserError(
                f"config.data.batch_size={size}: split {data_config.split!r} of "
                f"{data_config.name} has {len(source)} images; expected at most that"
            )
        if size % process_count:
            raise UserError(
                f"config.data.batch_size={size}: not divisible by the {process_count} "
                "processes"
            )
        transform = make_train_transform(data_config, rare_classes(data_config))
        self._threads, self._workers = data_config.threads, data_config.workers
        bound = data_config.cache * MIB // max(self._workers, 1)
        self._kept = Kept(source, bound)
        self._replacing, self.replaced = Replacing(self._kept), dict[int, str]()
        replaces = data_config.on_error == SKIP
        self._batches = grain.MapDataset.source(
            Batches(
                self._replacing if replaces else self._kept,
                transform,
                seed,
                size // process_count,
                (process_index, process_count),
            )
        )
        self._next, self._left_out = 0, frozenset[int]()
        self._running: grain.DatasetIterator | None = None
        self._processes: list[Any] | None = None  # once they have given a batch

    def __iter__(self) -> "TrainLoader":
        return self

    def __next__(self) -> dict[str, np.ndarray]:
        while self._next in self._left_out:
            self._draw()
        return self._draw()

    def _first(self) -> dict[str, np.ndarray]:
        """The next batch; threads or workers start, for all that follow."""
        rest = _read(self._batches[self._next :], self._threads)
        if not self._workers:
            self._running = iter(rest)
            return next(self._running)
        workers.parse_flags()
        rest = rest.mp_prefetch(grain.MultiprocessingOptions(self._workers))
        with workers.deaf():
            self._running = iter(rest)
            return next(self._running)

    def _draw(self) -> dict[str, np.ndarray]:
        try:
            batch = self._first() if self._running is None else next(self._running)
        except (RuntimeError, BrokenPipeError) as error:
            if not self._workers:
                raise
            raise workers.ended(self._workers, error, self._processes) from None
        if self._workers and self._processes is None:
            self._processes = multiprocessing.active_children()
        self._next += 1
        for index in map(int, batch.pop(REPLACES, ())):
            if index >= 0 and index not in self.replaced:
                self.replaced[index] = self._replacing.fault(index)
        return batch

    @property
    def number(self) -> int:
        """Of the batch that came last, from 0, those left out counted."""
        return self._next - 1

    def leave_out(self, batches: Iterable[int]) -> None:
        """Batches of these numbers do not come; the others stay as they are."""
        self._left_out = frozenset(batches)

    def state(self) -> dict[str, int]:
        """The position: what `restore` needs, ready for JSON."""
        return {"next_batch": self._next}

    def restore(self, state: dict[str, int]) -> None:
        """Goes to a position; the next batch is the one that came next there."""
        self.close()
        self._next = int(state["next_batch"])

    def close(self) -> None:
        """Stops threads and workers, lets go of images; the next item starts again."""
        self._kept.forget()
        if self._running is not None:
            self._running.close()
            self._running = self._processes = None


def eval_batches(
    data_config,
    split: str,
    multiple: int,
    rows: Callable[[int], slice] | None = None,
) -> Iterator[dict]:
    """Reads each image of a split once, at its own size.

    They are planned by `plan_batches` and padded by `padded_batch`, as those are that
    `resseg predict` is given.

    Args:
        data_config: the `data` section of a config.
        split: name of the split.
        multiple: that height and width of a batch are divisible by.
        rows: of a batch of so many images, those to be read; beyond its end it is
            filled up. None = all.

    Yields:
        What `padded_batch` gives.

    Raises:
        UserError: as `open_split`, or an image that cannot be read.
    """
    source = open_split(data_config, split)
    sizes = count_split(data_config, split).sizes
    plan = plan_batches(sizes, multiple, data_config.eval_batch_size)

    def read(planned: PlannedBatch) -> dict:
        if rows is not None:
            part = rows(planned.images)
            planned = planned._replace(
                images=part.stop - part.start, indices=planned.indices[part]
            )
        examples = [source[index] for index in planned.indices]
        return padded_batch(planned, examples, data_config)

    return _in_order(plan, read, data_config.threads)


def padded_batch(
    planned: PlannedBatch, examples: Iterable[Mapping[str, Any]], data_config
) -> dict[str, Any]:
    """Images of a planned batch as arrays, padded on the right and below.

    Args:
        planned: the batch.
        examples: its images in order: `image` uint8 `[height, width, 3]`, `mask`
            integers `[height, width]`, and `name`.
        data_config: the `data` section of a config; `mean` and `std` are read.

    Returns:
        `image` float32 `[batch, height, width, 3]`, normalised, 0 where padded;
        `label` int32 `[batch, height, width]`, void where padded; `size` int32
        `[batch, 2]`, height and width of the image itself; `name`, a list. The names
        are those of the images: where it is shorter than the batch, the rest is
        filled with images that are all void, of size 0.
    """
    shape = (planned.images, planned.height, planned.width)
    images = np.zeros((*shape, 3), np.float32)
    labels = np.full(shape, VOID, np.int32)
    sizes = np.zeros((planned.images, 2), np.int32)
    names, normalizer = [], Normalizer(data_config.mean, data_config.std)
    for place, example in enumerate(examples):
        height, width = sizes[place] = example["mask"].shape
        normalizer.put(example["image"], images[place, :height, :width])
        labels[place, :height, :width] = example["mask"]
        names.append(example["name"])
    return {"image": images, "label": labels, "size": sizes, "name": names}


def class_pixels(data_config, split: str) -> np.ndarray:
    """Labelled pixels of each class in a split, int64 `[classes]`."""
    return count_split(data_config, split).pixels.sum(axis=0)


def rare_classes(data_config) -> tuple[int, ...]:
    """The classes that `config.data.rare_crop` aims at; () where it is off.

    Those of `config.data.rare_classes`, or else the one with the fewest pixels among
    those that the training split shows.
    """
    if data_config.rare_crop == 0:
        return ()
    if data_config.rare_classes:
        return tuple(data_config.rare_classes)
    pixels = class_pixels(data_config, data_config.split)
    present = np.flatnonzero(pixels)
    return (int(present[np.argmin(pixels[present])]),)


def _read(items: grain.MapDataset, threads: int) -> grain.IterDataset:
    # Items are whole batches, so a short buffer keeps every thread busy.
    options = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=2 * threads)
    return items.to_iter_dataset(options)


def _in_order(plan: Sequence, read: Callable, threads: int) -> Iterator[dict]:
    batches = iter(_read(grain.MapDataset.source(plan).map(read), threads))
    try:
        yield from batches
    finally:
        batches.close()
