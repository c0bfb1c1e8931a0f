"""What measuring the gradient at every fork costs a train step.

python benchmarks/taps_overhead.py [--pairs N] [--steps N] [--config FILE]

The same train step with taps and without, on the same batch, state donated as in
training; times are taken in interleaved pairs, in turns which comes first, so that what
else the machine does falls on both. Printed is the median of the pairs' ratios and its
quartiles: of the step alone, and with its log fetched and made into rows, as training
does it. Without --config: U-Net on ResNet-18 of full width, 96 x 96, batch 8.
"""

import argparse
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

from resseg.blueprint.blueprint import Blueprint
from resseg.cli.parser import split_overrides
from resseg.config.load import load_config, parse
from resseg.console import counting
from resseg.errors import UserError
from resseg.runs import gradients_table
from resseg.training import recipe
from resseg.training.steps import init_state, make_train_step

DEFAULT = Path(__file__).with_name("unet_resnet18.py")
CLASSES = 7


class TimedStep:
    """A train step that keeps its own state and says how long it took."""

    def __init__(self, config: Any, *, taps: bool):
        blueprint = Blueprint.of(config, CLASSES)
        self.image_shape = (config.data.batch_size, *config.data.crop, 3)
        self.forks = blueprint.forks(config.data.batch_size)
        optimizer, _ = recipe.build_optimizer(config)
        step = make_train_step(
            blueprint.model,
            recipe.optimizer_of(config),
            recipe.build_loss(config, CLASSES),
            blueprint.zero_taps() if taps else {},
            num_classes=CLASSES,
            clips=config.optim.clip_norm is not None,
        )
        self.key = jax.random.key(0)
        drawn = blueprint.draw(self.key)
        variables = drawn | {"paths": blueprint.paths(config)}
        numbers = jax.device_put(recipe.numbers(config))
        state = init_state(variables, optimizer, ema=False)
        self.state = state.replace(numbers=numbers)
        self.step = jax.jit(step, donate_argnums=0)

    def __call__(self, batch: Any, steps: int, *, log: bool) -> float:
        """Seconds per step over `steps` steps; with `log` the rows are made too."""
        began = time.perf_counter()
        for number in range(steps):
            self.state, said = self.step(self.state, batch, self.key)
            if log:
                self.rows(number, jax.device_get(said))
        jax.block_until_ready(self.state)
        return (time.perf_counter() - began) / steps

    def rows(self, number: int, said: dict[str, Any]) -> None:
        """What training makes of the log of one step."""
        pixels = float(said["scalars"]["loss_pixels"])
        if said["forks"]:
            gradients_table.rows(
                number, self.forks, said["forks"], pixels, joins=said["joins"]
            )
        gradients_table.block_rows(number, **said["blocks"])


def ratios(
    on: Callable[..., float], off: Callable[..., float], pairs: int
) -> tuple[np.ndarray, np.ndarray]:
    """Seconds with and without, `[pairs]` each, in turns which is first."""
    seconds = []
    with counting("pairs", pairs) as done:
        for pair in range(pairs):
            if pair % 2:
                without, measured = off(), on()
            else:
                measured, without = on(), off()
            seconds.append((measured, without))
            done(1)
    with_taps, plain = np.array(seconds).T
    return with_taps, plain


def measure(config: Any, pairs: int, steps: int) -> dict[str, np.ndarray]:
    """Seconds per step `[2, pairs]`, with taps and without, by what was timed."""
    on, off = TimedStep(config, taps=True), TimedStep(config, taps=False)
    draw = np.random.default_rng(0)
    batch = {
        "image": draw.normal(size=on.image_shape).astype(np.float32),
        "label": draw.integers(0, CLASSES, on.image_shape[:3]).astype(np.int32),
    }
    batch = jax.device_put(batch)
    results = {}
    for what, log in (("step", False), ("step and its log", True)):
        for timed in (on, off):  # compiles, warms up
            timed(batch, 2, log=log)
        results[what] = np.stack(
            ratios(
                lambda log=log: on(batch, steps, log=log),
                lambda log=log: off(batch, steps, log=log),
                pairs,
            )
        )
    return results


def report(results: dict[str, np.ndarray]) -> list[str]:
    """One line per thing timed."""
    lines = []
    for what, (with_taps, plain) in results.items():
        low, middle, high = np.quantile(with_taps / plain, [0.25, 0.5, 0.75])
        lines.append(
            f"{what}: {1e3 * np.median(plain):.1f} ms without taps, overhead "
            f"{100 * (middle - 1):+.2f} % (median of {len(plain)} pairs; quartiles "
            f"{100 * (low - 1):+.2f} to {100 * (high - 1):+.2f} %)"
        )
    return lines


def main(argv: list[str]) -> None:
    rest, overrides = split_overrides(argv)
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config", default=str(DEFAULT), metavar="FILE")
    parser.add_argument("--pairs", type=int, default=15, metavar="N")
    parser.add_argument("--steps", type=int, default=2, metavar="N", help="per time")
    args = parser.parse_args(rest)
    config = load_config(
        args.config, {key: parse(key, text) for key, text in overrides}
    )
    device = jax.devices()[0]
    print(
        f"{len(jax.devices())} x {device.device_kind}, {os.cpu_count()} cores, "
        f"JAX {jax.__version__}, Python {sys.version.split()[0]}"
    )
    for line in report(measure(config, args.pairs, args.steps)):
        print(line)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except UserError as error:
        sys.exit(f"taps_overhead.py: {error}")
