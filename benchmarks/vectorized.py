"""What training runs together under `vmap` costs against one after another.

python -m benchmarks.vectorized [--widths 8,32] [--counts 4,8] [--pairs N]

One step of N runs: one program over their stacked states, against the program of a
single run called N times. Batches lie on the device, states are
donated as in training, and the times are taken in interleaved pairs, in turns which
comes first, so that what else the machine does falls on both. Printed is the median of
the pairs' ratios, together over one after another: below 1 it pays. The default is the
network of configs/quickstart.py, with the widths that are named; --config.KEY=VALUE
changes it.
"""

import argparse
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from resseg import sharding
from resseg.cli.parser import split_overrides
from resseg.config.load import load_config, parse
from resseg.data import DatasetSpec
from resseg.errors import UserError
from resseg.training.program import Program, Programs

QUICKSTART = Path(__file__).parent.parent / "configs" / "quickstart.py"
SPEC = DatasetSpec("random", tuple(f"class {i}" for i in range(7)), {})


class TimedRuns:
    """`count` runs of one program: each by itself, or all together."""

    def __init__(self, program: Program, config: Any, count: int, *, together: bool):
        draw = np.random.default_rng(0)
        size = (config.data.batch_size, *config.data.crop)
        batches = [
            {
                "image": draw.normal(size=(*size, 3)).astype(np.float32),
                "label": draw.integers(0, SPEC.num_classes, size).astype(np.int32),
            }
            for _ in range(count)
        ]
        states = [program.begin(config) for _ in range(count)]
        keys = [jax.random.key(seed) for seed in range(count)]
        mesh = sharding.make_mesh(config.mesh.data)
        if not together:
            split = sharding.by_batch(mesh)
            self._step = program.step
            self._states = states
            self._rest = [
                (sharding.put_batch(batch, split), key)
                for batch, key in zip(batches, keys, strict=True)
            ]
            return
        variants = sharding.variants_mesh(mesh, count)
        split = sharding.by_variant(variants)
        host = jax.device_get(states)
        stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *host)
        batch = jax.tree.map(lambda *leaves: np.stack(leaves), *batches)
        self._step = program.step_together(variants)
        self._states = [jax.device_put(stacked, split)]
        self._rest = [(jax.device_put(batch, split), jnp.stack(keys))]

    def __call__(self) -> float:
        """Seconds that one step of all runs takes."""
        began = time.perf_counter()
        for i, rest in enumerate(self._rest):
            self._states[i], _ = self._step(self._states[i], *rest)
        jax.block_until_ready(self._states)
        return time.perf_counter() - began


def interleaved(
    one: Callable[[], float], other: Callable[[], float], pairs: int
) -> np.ndarray:
    """Seconds `[pairs, 2]`, in turns which is first."""
    seconds = []
    for pair in range(pairs):
        if pair % 2:
            second, first = other(), one()
        else:
            first, second = one(), other()
        seconds.append((first, second))
    return np.array(seconds)


def measure(config: Any, counts: list[int], pairs: int) -> list[str]:
    """One line per number of runs."""
    program = Programs()(config, SPEC, sharding.make_mesh(config.mesh.data))
    lines = []
    for count in counts:
        together = TimedRuns(program, config, count, together=True)
        alone = TimedRuns(program, config, count, together=False)
        began = time.perf_counter()
        together()
        compiled = time.perf_counter() - began
        alone()
        seconds = interleaved(together, alone, pairs)
        low, middle, high = np.quantile(
            seconds[:, 0] / seconds[:, 1], [0.25, 0.5, 0.75]
        )
        both = 1e3 * np.median(seconds, axis=0)
        lines.append(
            f"width {config.model.backbone.width}, {count} runs: {both[0]:.0f} ms "
            f"together, {both[1]:.0f} ms one after another, ratio {middle:.2f} (median "
            f"of {pairs} pairs; quartiles {low:.2f} to {high:.2f}); "
            f"first step {compiled:.0f} s"
        )
    return lines


def numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def main(argv: list[str]) -> None:
    rest, overrides = split_overrides(argv)
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--widths", type=numbers, default=[8, 32], metavar="W,W")
    parser.add_argument("--counts", type=numbers, default=[4, 8], metavar="N,N")
    parser.add_argument("--pairs", type=int, default=10, metavar="N")
    args = parser.parse_args(rest)
    given = {key: parse(key, text) for key, text in overrides}
    device = jax.devices()[0]
    busy = f"load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    print(
        f"{len(jax.devices())} x {device.device_kind}, {os.cpu_count()} cores, {busy}, "
        f"JAX {jax.__version__}, Python {sys.version.split()[0]}"
    )
    for width in args.widths:
        config = load_config(QUICKSTART, given | {"model.backbone.width": width})
        for line in measure(config, args.counts, args.pairs):
            print(line, flush=True)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except UserError as error:
        sys.exit(f"vectorized.py: {error}")
