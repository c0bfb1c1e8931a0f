"""What measuring the gradient at every fork costs a train step.

python -m benchmarks.taps [--pairs N] [--steps N] [--config FILE] [--out DIR]

The same train step with taps and without, on the same batch, state donated as in
training, in interleaved pairs: of the step alone, and with its log fetched and made
into rows while the next step runs, as training does it. The note holds what measuring
adds. Without --config: U-Net on ResNet-18 of full width, 96 x 96, batch 8; on a GPU two
larger networks in bfloat16. --config.KEY=VALUE changes it.
"""

import argparse
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from benchmarks.pairs import Comparison, add_options, interleaved, report
from resseg.blueprint.blueprint import Blueprint
from resseg.cli.parser import split_overrides
from resseg.config.load import load_config, parse
from resseg.errors import UserError
from resseg.runs import gradients_table
from resseg.training import recipe
from resseg.training.steps import init_state, make_train_step

DEFAULT = Path(__file__).with_name("unet_resnet18.py")
CLASSES = 7
UNET = {"data.crop": (256, 256), "data.batch_size": 64, "model.dtype": "bfloat16"}
V3_PLUS = UNET | {
    "data.crop": (512, 512),
    "data.batch_size": 32,
    "model.backbone.depth": 50,
    "model.backbone.output_stride": 16,
    "model.head.name": "deeplabv3plus",
}
LARGE: Mapping[str, Mapping[str, Any]] = {
    "U-Net ResNet-18": UNET,
    "DeepLabV3+ ResNet-50": V3_PLUS,
}
PARTS = {"step": False, "step and its log": True}


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
        began, before = time.perf_counter(), None
        for number in range(steps):
            self.state, said = self.step(self.state, batch, self.key)
            if log and before is not None:
                self.rows(number, jax.device_get(before))
            before = said
        if log:
            self.rows(steps, jax.device_get(before))
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


def measure(title: str, config: Any, pairs: int, steps: int) -> list[Comparison]:
    """A row per thing that is timed; the peer is the step without taps."""
    on, off = TimedStep(config, taps=True), TimedStep(config, taps=False)
    draw = np.random.default_rng(0)
    batch = {
        "image": draw.normal(size=on.image_shape).astype(np.float32),
        "label": draw.integers(0, CLASSES, on.image_shape[:3]).astype(np.int32),
    }
    batch = jax.device_put(batch)
    side, number = on.image_shape[1], on.image_shape[0]
    where = f"{title}, {side}², batch {number}, {config.model.dtype}"
    rows = []
    for what, log in PARTS.items():
        for timed in (on, off):  # compiles, warms up
            timed(batch, 2, log=log)
        seconds = interleaved(
            lambda log=log: on(batch, steps, log=log),
            lambda log=log: off(batch, steps, log=log),
            pairs,
            what,
        )
        rows.append(
            Comparison(f"{what}: {where}", *seconds, "no taps", note=overhead(*seconds))
        )
    return rows


def overhead(on: list[float], off: list[float]) -> str:
    """What measuring adds: median and quartiles of the ratios of pairs, in percent."""
    ratios = np.asarray(on) / np.asarray(off)
    low, middle, high = 100 * (np.quantile(ratios, [0.25, 0.5, 0.75]) - 1)
    return f"measuring adds {middle:+.2f} % ({low:+.2f} to {high:+.2f} %)"


def main(argv: list[str]) -> None:
    rest, overrides = split_overrides(argv)
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.taps",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_options(parser, 15)
    parser.add_argument("--config", metavar="FILE", help="of one network")
    parser.add_argument("--steps", type=int, default=2, metavar="N", help="per time")
    args = parser.parse_args(rest)
    given = {key: parse(key, text) for key, text in overrides}
    asked: Mapping[str, Mapping[str, Any]] = LARGE
    if args.config is not None or jax.default_backend() == "cpu":
        asked = {args.config or "U-Net ResNet-18": {}}
    rows = [
        row
        for title, keys in asked.items()
        for row in measure(
            title,
            load_config(args.config or str(DEFAULT), {**keys, **given}),
            args.pairs,
            args.steps,
        )
    ]
    report("taps", rows, ("jax", "jaxlib"), args.out)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except UserError as error:
        sys.exit(f"benchmarks.taps: {error}")
