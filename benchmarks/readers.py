"""Both sides of `benchmarks.input`: resseg, and torch with albumentations.

Each side lives in a process of its own, so that threads, forks and caches of one are
not the other's. It reads so many batches when it is asked to, and says how long that
took.
"""

import multiprocessing
import os
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from resseg.config import base
from resseg.data import pipeline

_AHEAD = 12  # batches: more than any side has read ahead while it was not asked


class Task(NamedTuple):
    """What both sides read.

    Attributes:
        dir: of prepared data sets.
        name: of the data set.
        files: folder with `images` and `masks` of its training split, for the peer.
        batch: images of a batch.
        crop: side of a crop, pixels.
        down: whether crops are flipped vertically too; horizontally they are.
        color: strength of the colour jitter.
    """

    dir: str
    name: str
    files: str
    batch: int
    crop: int
    down: bool = False
    color: float = 0.0


class Setting(NamedTuple):
    """How a side reads.

    Attributes:
        memory: whether decoded images are kept in memory.
        workers: processes.
        threads: of ours, that read.
        opencv_threads: of the peer, whether OpenCV uses its own; else it may not.
        channels_first: of the peer, `ToTensorV2`; else batches stay as OpenCV has them,
            which torch calls channels-last.
    """

    memory: bool = False
    workers: int = 0
    threads: int = 0
    opencv_threads: bool = False
    channels_first: bool = False

    def words(self) -> str:
        """The setting in a table."""
        parts = [f"{self.workers} workers"]
        parts += [f"{self.threads} threads"] * (self.threads > 0)
        parts += ["OpenCV's threads"] * self.opencv_threads
        parts += ["ToTensorV2"] * self.channels_first
        return ", ".join(parts)


class Reader:
    """A side in its own process."""

    def __init__(self, batches: Callable[..., Iterator], task: Task, setting: Setting):
        """Starts it and waits for its first batches.

        Args:
            batches: `ours` or `theirs`.
            task: what it reads.
            setting: how.
        """
        context = multiprocessing.get_context("spawn")
        self._pipe, far = context.Pipe()
        arguments = (far, batches, task, setting)
        self._process = context.Process(target=_serve, args=arguments)
        self._process.start()
        far.close()
        self._pipe.recv()

    def __call__(self, count: int) -> float:
        """Seconds for `count` batches."""
        self._pipe.send(count)
        return self._pipe.recv()

    def close(self) -> None:
        self._pipe.send(0)
        self._process.join()


def _serve(
    pipe: Connection, batches: Callable[..., Iterator], task: Task, setting: Setting
) -> None:
    endless = batches(task, setting)
    next(endless)
    pipe.send(0.0)
    while count := pipe.recv():
        for _ in range(_AHEAD):
            next(endless)
        began = time.perf_counter()
        for _ in range(count):
            next(endless)
        pipe.send(time.perf_counter() - began)


def ours(task: Task, setting: Setting) -> Iterator[dict[str, np.ndarray]]:
    """Training batches of resseg; all images are in memory before the first."""
    data = base.get_config().data
    data.name, data.dir = task.name, task.dir
    data.batch_size, data.crop = task.batch, (task.crop, task.crop)
    data.scale, data.color, data.flip = (1.0, 1.0), task.color, 0.5
    data.vertical_flip = 0.5 * task.down
    data.threads, data.workers = setting.threads, setting.workers
    data.cache = 4096 * max(1, setting.workers) if setting.memory else 0
    loader = pipeline.TrainLoader(data, 0)
    if setting.memory:
        images = len(list(Path(task.files, "images").iterdir()))
        for _ in range(max(1, setting.workers) * -(-images // task.batch)):
            next(loader)
    yield from loader


def theirs(task: Task, setting: Setting) -> Iterator[Any]:
    """The same of torch's DataLoader with albumentations, its workers kept alive.

    Batches are endless, so no epoch's end empties what was read ahead. Images are
    decoded before workers are forked: they share that memory.
    """
    import torch

    torch.set_num_threads(1)  # as its workers do; more only wait for each other here
    if not setting.opencv_threads:
        cv2.setNumThreads(0)  # as albumentations advises where workers read
    images = Images(task.files, albumentation(task, setting), setting.memory)
    order = torch.utils.data.RandomSampler(images, num_samples=2**31)
    loader = torch.utils.data.DataLoader(
        images,
        batch_size=task.batch,
        sampler=order,
        num_workers=setting.workers,
        persistent_workers=setting.workers > 0,
    )
    yield from loader


class Images:
    """A map-style data set of torch: an image file and a mask file each."""

    def __init__(self, files: str, transform: Callable[..., dict], memory: bool):
        folders = (Path(files, kind) for kind in ("images", "masks"))
        self._paths = [sorted(map(str, folder.iterdir())) for folder in folders]
        self._transform = transform
        self._kept: list[tuple[np.ndarray, np.ndarray]] | None = None
        if memory:
            self._kept = [self._read(index) for index in range(len(self))]

    def __len__(self) -> int:
        return len(self._paths[0])

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        image, mask = self._kept[index] if self._kept else self._read(index)
        made = self._transform(image=image, mask=mask)
        return made["image"], made["mask"]

    def _read(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        image, mask = (paths[index] for paths in self._paths)
        return (
            cv2.imread(image, cv2.IMREAD_COLOR_RGB),
            cv2.imread(mask, cv2.IMREAD_UNCHANGED),
        )


def albumentation(task: Task, setting: Setting) -> Any:
    """What albumentations is asked to do."""
    os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"  # it would ask the network first
    import albumentations
    from albumentations.pytorch import ToTensorV2

    data, color = base.get_config().data, (1 - task.color, 1 + task.color)
    steps = [
        albumentations.RandomCrop(task.crop, task.crop),
        albumentations.HorizontalFlip(p=0.5),
    ]
    if task.down:
        steps.append(albumentations.VerticalFlip(p=0.5))
    if task.color:
        jitter = albumentations.ColorJitter(color, color, color, (0, 0), p=1)
        steps.append(jitter)
    steps.append(albumentations.Normalize(tuple(data.mean), tuple(data.std)))
    if setting.channels_first:
        steps.append(ToTensorV2())
    return albumentations.Compose(steps)
