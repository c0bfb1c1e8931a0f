"""The training loop against its compiled step, and evaluation against forward passes.

python -m benchmarks.loop [--pairs N] [--steps N] [--out DIR] [--config.KEY=VALUE]

A pair of the first row is `--steps` steps through the loop of `resseg train`, which
draws batches, puts them on the device, fetches and writes the log of every step and
every fork, and as many calls of the same compiled step on one batch that lies on the
device. Of the second, `resseg evaluate` over the validation split, which reads images,
counts pixels and boundary bands, and the same compiled program on the same batches.
Nothing is saved or evaluated inside the first. The network is U-Net on ResNet-18, 128²,
batch 8, on shapes.
"""

import argparse
import contextlib
import functools
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from benchmarks.pairs import Comparison, add_options, interleaved, report
from resseg import sharding
from resseg.architecture import padding_multiple
from resseg.cli.parser import split_overrides
from resseg.config.load import load_config, parse
from resseg.data import pipeline
from resseg.errors import UserError
from resseg.inference.evaluator import Evaluator, run_ahead
from resseg.training.clock import Clock
from resseg.training.loop import run_steps
from resseg.training.prepare import prepare
from resseg.training.program import Program, Programs
from resseg.training.progress import TrainingProgress
from resseg.training.run import Alone, begin
from resseg.training.stops import Stop

DEFAULT = Path(__file__).with_name("unet_resnet18.py")
SHAPES = {
    "data.name": "shapes",
    "data.crop": (128, 128),
    "data.shapes.train_images": 64,
    "data.shapes.val_images": 32,
    "eval.predictions": 0,
    "log.every": 1,
    "log.tensorboard": False,
}


class Unbroken(Alone):
    """A run that neither evaluates nor saves."""

    steps = 1  # so far; the first waits for readers and threads to start

    def pause_due(self, step: int) -> bool:
        return False

    def dispatch(self, batch: Mapping[str, np.ndarray]) -> dict[str, Any]:
        self.last = super().dispatch(batch)
        return self.last


class Loop:
    """Trains a run of its own each time; every one by the same compiled step."""

    def __init__(self, config: Any, folder: Path):
        self.config, self.folder = config, folder
        self.programs, self.count = Programs(), 0

    @contextlib.contextmanager
    def begun(self) -> Iterator[tuple[Any, Program, Any, Any]]:
        self.count += 1
        workdir = self.folder / str(self.count)
        prepared = prepare(self.config, workdir, self.programs)
        program = prepared.program(self.programs)
        with contextlib.ExitStack() as held:
            run, state = begin(prepared, program, held, say=lambda line: None)
            yield run, program, state, prepared.spec

    def through_the_loop(self) -> float:
        """Seconds per step."""
        steps = self.config.train.steps
        with self.begun() as (run, program, state, _):
            clock = Clock(0.0)
            alone = Unbroken(run, program, state, clock)
            with TrainingProgress(0, steps, self.config.data.batch_size) as progress:
                run_steps(alone, 0, progress, Stop(), clock)
                alone.steps = steps
                began = time.perf_counter()
                run_steps(alone, 1, progress, Stop(), clock)
                jax.block_until_ready(alone.last)
                return (time.perf_counter() - began) / (steps - 1)

    def bare(self) -> float:
        """The same of the step alone."""
        steps = self.config.train.steps
        with self.begun() as (run, program, state, _):
            split = sharding.by_batch(run.mesh)
            batch = sharding.put_batch(next(run.loader), split)
            key = jax.random.key(0)
            state, _ = program.step(state, batch, key)
            jax.block_until_ready(state)
            began = time.perf_counter()
            for _ in range(steps - 1):
                state, _ = program.step(state, batch, key)
            jax.block_until_ready(state)
            return (time.perf_counter() - began) / (steps - 1)

    def evaluations(self) -> tuple[Callable[[], float], Callable[[], float], int]:
        """Seconds of an evaluation, and of its programs alone; how many images."""
        with self.begun() as (run, program, state, spec):
            variables, mesh = state.variables(), run.mesh
        evaluator = Evaluator(
            self.config, program.model, spec, mesh, step=program.evaluation
        )
        data = self.config.data
        batches = list(
            pipeline.eval_batches(
                data, data.eval_split, padding_multiple(self.config.model)
            )
        )

        def whole() -> float:
            began = time.perf_counter()
            evaluator(variables, data.eval_split)
            return time.perf_counter() - began

        def alone() -> float:
            began = time.perf_counter()
            for _ in run_ahead(program.evaluation, variables, batches, mesh):
                pass
            return time.perf_counter() - began

        whole(), alone()
        return whole, alone, spec.splits[data.eval_split]


def measure(config: Any, pairs: int, folder: Path) -> list[Comparison]:
    """Both rows."""
    loop, batch = Loop(config, folder), config.data.batch_size
    loop.bare(), loop.through_the_loop()  # compiles
    whole, alone, images = loop.evaluations()
    return [
        compare("training loop", loop.through_the_loop, loop.bare, pairs, batch),
        compare("evaluation", whole, alone, pairs, images),
    ]


def compare(
    what: str, ours: Callable[[], float], bare: Callable[[], float], pairs: int, of: int
) -> Comparison:
    """A row; the note says what else the processor did, which wall time hides."""
    computed: dict[str, list[float]] = {"ours": [], "bare": []}

    def counted(side: str, run: Callable[[], float]) -> float:
        began = time.process_time()
        seconds = run()
        computed[side].append(time.process_time() - began)
        return seconds

    seconds = interleaved(
        functools.partial(counted, "ours", ours),
        functools.partial(counted, "bare", bare),
        pairs,
        what,
    )
    ratios = np.divide(computed["ours"], computed["bare"])
    low, middle, high = np.quantile(ratios, [0.25, 0.5, 0.75])
    return Comparison(
        what,
        *seconds,
        "compiled program alone",
        of,
        "images",
        note=f"processor time x {middle:.3f} ({low:.3f} to {high:.3f})",
    )


def main(argv: list[str]) -> None:
    rest, overrides = split_overrides(argv)
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.loop",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_options(parser, 7)
    parser.add_argument("--steps", type=int, default=12, metavar="N", help="per time")
    args = parser.parse_args(rest)
    given = {key: parse(key, text) for key, text in overrides}
    with tempfile.TemporaryDirectory() as name:
        keys = SHAPES | {"data.dir": str(Path(name) / "data")} | given
        config = load_config(str(DEFAULT), keys | {"train.steps": args.steps})
        rows = measure(config, args.pairs, Path(name))
    report("loop", rows, ("jax", "jaxlib"), args.out)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except UserError as error:
        sys.exit(f"benchmarks.loop: {error}")
