"""What `train.on_nonfinite=skip` costs a train step that is finite.

python -m benchmarks.skip_overhead [--pairs N] [--steps N] [--config FILE] [--out DIR]

The same step with and without the choice of the state, on the same batch, state donated
as in training, in interleaved pairs. Without --config: U-Net on ResNet-18 of full
width, 96 x 96, batch 8.
"""

import argparse
import functools
import time
from typing import Any

import jax

from benchmarks import pairs
from benchmarks.taps import CLASSES, DEFAULT
from resseg import sharding
from resseg.config.load import load_config
from resseg.data import DatasetSpec
from resseg.training.guard import SKIP, STOP
from resseg.training.program import Programs


class TimedStep:
    """A train step that keeps its own state and says how long it took."""

    def __init__(self, config: Any, programs: Programs):
        names = tuple(f"class {index}" for index in range(CLASSES))
        spec = DatasetSpec("random", names, {"train": 1})
        mesh = sharding.make_mesh(1)
        program = programs(config, spec, mesh)
        self.step, self.state = program.step, program.begin(config)
        shape = (config.data.batch_size, *config.data.crop)
        draws = jax.random.split(jax.random.key(0))
        batch = {
            "image": jax.random.normal(draws[0], (*shape, 3)),
            "label": jax.random.randint(draws[1], shape, 0, CLASSES),
        }
        self.batch = jax.device_put(batch, sharding.by_batch(mesh))

    def __call__(self, steps: int) -> float:
        """Seconds of some steps, in a row and without a look at what they log."""
        began = time.perf_counter()
        for _ in range(steps):
            self.state, _ = self.step(self.state, self.batch, jax.random.key(1))
        jax.block_until_ready(self.state)
        return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config", default=str(DEFAULT), metavar="FILE")
    parser.add_argument("--steps", type=int, default=2, metavar="N", help="per time")
    pairs.add_options(parser, pairs=15)
    args = parser.parse_args()
    programs, sides = Programs(), []
    for mode in (SKIP, STOP):
        config = load_config(args.config, {"train.on_nonfinite": mode})
        side = functools.partial(TimedStep(config, programs), args.steps)
        side()  # compiles
        side()
        sides.append(side)
    ours, theirs = pairs.interleaved(*sides, args.pairs)
    row = pairs.Comparison("train step that may skip", ours, theirs, "one that may not")
    pairs.report("skip_overhead", [row], ("jax",), args.out)


if __name__ == "__main__":
    main()
