"""Training batches: resseg against torch's DataLoader with albumentations.

python -m benchmarks.input [--dir DATA] [--sets NAME,...] [--pairs N] [--out DIR]

Both make the same of the same files: random crop, flips, where it is said colour
jitter, and float32 pixels normalised. Each side first tries its settings, and the
fastest is compared, in interleaved pairs, each side in its own process. Compared are
images read from files, images kept in memory, and ours as it comes (in memory) with
the peer reading files, as its data sets do. The data sets have to be prepared.
"""

import argparse
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks import pairs
from benchmarks.readers import Reader, Setting, Task, ours, theirs
from resseg.config import base
from resseg.console import say
from resseg.data import sources
from resseg.errors import UserError, choose

PACKAGES = ("grain", "numpy", "opencv-python-headless")
PEERS = ("torch", "albumentations")

TASKS = {
    "road_defects": [("crop 256², flip", {"batch": 16, "crop": 256})],
    "nuclei": [
        ("crop 128², both flips", {"batch": 16, "crop": 128, "down": True}),
        (
            "crop 128², both flips, colour",
            {"batch": 16, "crop": 128, "down": True, "color": 0.2},
        ),
    ],
}
OURS = [Setting(threads=threads) for threads in (1, 2, 4)]
THEIRS = [Setting(workers=workers) for workers in (0, 1, 2)]
THEIRS += [Setting(opencv_threads=True)]
THEIRS += [Setting(workers=workers, channels_first=True) for workers in (0, 2)]
# Who keeps decoded images in memory; the last is what each does unless told otherwise.
MEMORY = ((False, False), (True, True), (True, False))


def export(data_dir: str, name: str, folder: Path) -> str:
    """Writes the training split as files, byte for byte as they were prepared."""
    data = base.get_config().data
    data.name, data.dir = name, data_dir
    source = sources.open_split(data, data.split)
    target = folder / name
    for kind in ("images", "masks"):
        (target / kind).mkdir(parents=True)
    for index in range(len(source)):
        _, image, mask = source.stored(index)
        (target / "images" / f"{index:06d}").write_bytes(image)
        (target / "masks" / f"{index:06d}").write_bytes(mask)
    return str(target)


class Fastest:
    """The setting of a side that takes least; each is tried twice, and once a task."""

    def __init__(self, batches: int):
        """`batches`: of a measurement."""
        self._batches = batches
        self._known: dict[tuple, Setting] = {}

    def __call__(self, side: Callable, task: Task, memory: bool) -> Setting:
        if (side, task, memory) not in self._known:
            rates: dict[Setting, float] = {}
            for setting in OURS if side is ours else THEIRS:
                setting = setting._replace(memory=memory)
                reader = Reader(side, task, setting)
                seconds = min(reader(self._batches) for _ in range(2))
                reader.close()
                rates[setting] = task.batch * self._batches / seconds
                say(
                    f"{side.__name__}, {setting.words()}: {rates[setting]:.0f} images/s"
                )
            best = max(rates, key=rates.__getitem__)
            self._known[side, task, memory] = best
        return self._known[side, task, memory]


def compare(
    what: str, task: Task, settings: Sequence[Setting], count: int, batches: int
) -> pairs.Comparison:
    """One row.

    Args:
        what: is read.
        task: the same in detail.
        settings: ours, and the peer's.
        count: of pairs.
        batches: of a measurement.
    """
    left, right = Reader(ours, task, settings[0]), Reader(theirs, task, settings[1])
    seconds = pairs.interleaved(
        lambda: left(batches), lambda: right(batches), count, what
    )
    left.close()
    right.close()
    where = ["in memory" if setting.memory else "from files" for setting in settings]
    return pairs.Comparison(
        f"{what}: ours {where[0]}, peer {where[1]}",
        *seconds,
        peer=settings[1].words(),
        work=task.batch * batches,
        unit="images",
        note=f"ours: {settings[0].words()}",
    )


def main(argv: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dir", default="data", metavar="DATA", help="prepared sets")
    parser.add_argument("--sets", default=",".join(TASKS), metavar="NAME,...")
    parser.add_argument("--batches", type=int, default=40, help="of a measurement")
    pairs.add_options(parser, pairs=9)
    args = parser.parse_args(argv)
    rows, fastest = [], Fastest(args.batches)
    with tempfile.TemporaryDirectory() as folder:
        for name in args.sets.split(","):
            choose("--sets", name, TASKS)
            files = export(args.dir, name, Path(folder))
            for what, asked in TASKS[name]:
                task = Task(args.dir, name, files, **asked)
                for keeps in MEMORY:
                    settings = [
                        fastest(side, task, kept)
                        for side, kept in zip((ours, theirs), keeps, strict=True)
                    ]
                    words = f"{name}, {what}"
                    say(f"{words}: {args.pairs} pairs")
                    row = compare(words, task, settings, args.pairs, args.batches)
                    say(" | ".join(row.cells()))
                    rows.append(row)
    pairs.report("input", rows, (*PACKAGES, *PEERS), args.out)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except UserError as error:
        sys.exit(f"benchmarks.input: {error}")
