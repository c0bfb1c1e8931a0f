"""What a run does with its network before the first step: traces, and seconds.

python benchmarks/before_first_step.py [--config FILE] [--repeats N] [--config.KEY=V]

From the config to the lowered train step, as `resseg train` goes there, without reading
data or compiling the step: blueprint and checks, drawing the weights, the train step. A
trace is a call of the network from Python. Printed are traces and the median of the
seconds that this process computed in each part, so that what else the machine does is
left out, as is the first repeat, which warms up.
"""

import argparse
import os
import sys
import time
from typing import Any

import flax.linen as nn
import jax
import numpy as np

from resseg import sharding
from resseg.cli import options
from resseg.cli.parser import split_overrides
from resseg.data import DatasetSpec
from resseg.errors import UserError
from resseg.models.network import SegmentationNetwork
from resseg.training.program import Programs

CLASSES = ("background", "object")
PARTS = ("blueprint", "weights", "step")


class Clock:
    """Counts traces of networks and seconds, part by part."""

    def __init__(self):
        self.traces: dict[str, int] = {}
        self.seconds: dict[str, float] = {}
        self._seen, self._began = 0, time.process_time()

    def __call__(self, call: Any, args: Any, kwargs: Any, context: Any) -> Any:
        """To intercept the methods of modules with."""
        whole = isinstance(context.module, SegmentationNetwork)
        self._seen += whole and context.method_name == "__call__"
        return call(*args, **kwargs)

    def end(self, part: str) -> None:
        now = time.process_time()
        self.traces[part], self.seconds[part] = self._seen, now - self._began
        self._seen, self._began = 0, time.process_time()


def measure(config: Any) -> Clock:
    """Lowers what a run of `config` would compile before its first step."""
    spec = DatasetSpec(config.data.name, CLASSES, {})
    mesh = sharding.make_mesh(config.mesh.data)
    images = (config.data.batch_size, *config.data.crop)
    batch = {
        "image": jax.ShapeDtypeStruct((*images, 3), np.float32),
        "label": jax.ShapeDtypeStruct(images, np.int32),
    }
    key, clock = jax.random.key(config.seed), Clock()
    with nn.intercept_methods(clock):
        programs = Programs()
        _ = programs.blueprint(config, len(CLASSES)).variables  # what `init` is held to
        program = programs(config, spec, mesh)
        clock.end("blueprint")
        state = program.begin(config)
        clock.end("weights")
        program.step.lower(state, batch, key)
        clock.end("step")
    return clock


def main(argv: list[str]) -> None:
    rest, overrides = split_overrides(argv)
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config", default="quickstart", metavar="FILE")
    parser.add_argument("--repeats", type=int, default=5, metavar="N")
    args = parser.parse_args(rest)
    config = options.load(args.config, overrides)
    clocks = [measure(config) for _ in range(args.repeats + 1)][1:]
    device = jax.devices()[0]
    print(
        f"{len(jax.devices())} x {device.device_kind}, {os.cpu_count()} cores, "
        f"JAX {jax.__version__}, Python {sys.version.split()[0]}"
    )
    for part in PARTS:
        seconds = np.median([clock.seconds[part] for clock in clocks])
        print(f"{part}: traces {clocks[0].traces[part]}, {seconds:.2f} s")
    totals = [sum(clock.seconds.values()) for clock in clocks]
    traces = sum(clocks[0].traces.values())
    print(f"in all: traces {traces}, {np.median(totals):.2f} s")


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except UserError as error:
        sys.exit(f"before_first_step.py: {error}")
