"""How time and memory of a train step grow with side, batch, depth and devices.

python -m benchmarks.scaling [--rounds N] [--only NAME,…] [--out DIR]
                             [--config.KEY=VALUE]

One thing grows, the rest stays. A step is compiled for each size, and the sizes step in
turns, so that what else the machine does falls on all. Fitted is value = c * size^k:
the slope of the logarithms, with its standard error. Memory is what XLA says that the
program takes on each device: arguments, results and what is in between. The network is
a U-Net on ResNet-18 of width 16, 64², batch 8. Devices of a CPU are virtual and share
its cores.
"""

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from benchmarks.pairs import surroundings
from resseg import sharding, text
from resseg.cli.parser import split_overrides
from resseg.config.load import load_config, parse
from resseg.console import counting
from resseg.data import DatasetSpec
from resseg.errors import UserError
from resseg.training.program import Programs

DEFAULT = Path(__file__).with_name("unet_resnet18.py")
SPEC = DatasetSpec("random", tuple(f"class {i}" for i in range(7)), {})
SMALL = {"model.backbone.width": 16, "data.crop": (64, 64), "data.batch_size": 8}
VIRTUAL = 4  # devices, where there is but a CPU
SIZES: dict[str, tuple[int, ...]] = {
    "side": (32, 64, 96, 128),
    "batch": (2, 4, 8, 16),
    "depth": (18, 34, 50, 101),
    "devices": (1, 2, 4),
}


class Step:
    """A compiled train step of a size.

    Attributes:
        memory: bytes on each device.
    """

    def __init__(self, config: Any, devices: int):
        mesh = sharding.make_mesh(devices)
        program = Programs()(config, SPEC, mesh)
        draw = np.random.default_rng(0)
        size = (config.data.batch_size, *config.data.crop)
        batch = {
            "image": draw.normal(size=(*size, 3)).astype(np.float32),
            "label": draw.integers(0, SPEC.num_classes, size).astype(np.int32),
        }
        self.batch = sharding.put_batch(batch, sharding.by_batch(mesh))
        self.state, self.key = program.begin(config), jax.random.key(0)
        self.step = program.step.lower(self.state, self.batch, self.key).compile()
        found = self.step.memory_analysis()
        self.memory = (
            found.argument_size_in_bytes
            + found.output_size_in_bytes
            + found.temp_size_in_bytes
            - found.alias_size_in_bytes
        )
        self()

    def __call__(self) -> float:
        """Seconds of a step."""
        began = time.perf_counter()
        self.state, _ = self.step(self.state, self.batch, self.key)
        jax.block_until_ready(self.state)
        return time.perf_counter() - began


class Growth(NamedTuple):
    """What was measured of one thing that grows.

    Attributes:
        name: of it.
        sizes: that were tried.
        seconds: `[rounds, sizes]`.
        memory: bytes on each device, `[sizes]`.
    """

    name: str
    sizes: tuple[int, ...]
    seconds: np.ndarray
    memory: np.ndarray

    def cells(self) -> list[str]:
        """The row of a Markdown table."""
        times, memory = 1e3 * np.median(self.seconds, 0), self.memory / 2**20
        return [
            self.name,
            ", ".join(map(str, self.sizes)),
            ", ".join(f"{value:.3g}" for value in times),
            "**{:.2f}** ± {:.2f}".format(*exponent(self.sizes, times)),
            ", ".join(f"{value:.3g}" for value in memory),
            "**{:.2f}** ± {:.2f}".format(*exponent(self.sizes, memory)),
        ]


def exponent(sizes: tuple[int, ...], values: np.ndarray) -> tuple[float, float]:
    """The k of value = c * size^k, and its standard error."""
    x, y = np.log(sizes), np.log(values)
    x = x - x.mean()
    slope = (x @ y) / (x @ x)
    rest = y - y.mean() - slope * x
    spread = rest @ rest / max(len(x) - 2, 1) / (x @ x)
    return float(slope), float(np.sqrt(spread))


def grown(config: Any, name: str, size: int) -> Any:
    """The config with one thing of that size."""
    config = config.copy_and_resolve_references()
    if name == "side":
        config.data.crop = (size, size)
    elif name == "batch":
        config.data.batch_size = size
    elif name == "depth":
        config.model.backbone.depth = size
    return config


def measure(config: Any, name: str, rounds: int) -> Growth:
    """Steps all sizes in turns."""
    devices = jax.device_count()
    sizes = tuple(s for s in SIZES[name] if name != "devices" or s <= devices)
    steps = [
        Step(grown(config, name, size), size if name == "devices" else 1)
        for size in sizes
    ]
    seconds = []
    with counting(name, rounds) as done:
        for _ in range(rounds):
            seconds.append([step() for step in steps])
            done(1)
    return Growth(
        name, sizes, np.array(seconds), np.array([step.memory for step in steps])
    )


def table(growths: list[Growth]) -> str:
    """In Markdown."""
    head = ["grows", "sizes", "step, ms", "exponent", "memory, MiB", "exponent"]
    lines = [head, ["---"] * len(head), *(growth.cells() for growth in growths)]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines) + "\n"


def main(argv: list[str]) -> None:
    rest, overrides = split_overrides(argv)
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.scaling",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rounds", type=int, default=9, metavar="N")
    parser.add_argument("--only", default=",".join(SIZES), metavar="NAME,…")
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="keeps scaling.json and .md here too"
    )
    args = parser.parse_args(rest)
    names = args.only.split(",")
    if unknown := set(names) - set(SIZES):
        parser.error(f"--only {min(unknown)}: expected some of {', '.join(SIZES)}")
    jax.config.update("jax_num_cpu_devices", VIRTUAL)
    given = {key: parse(key, value) for key, value in overrides}
    config = load_config(str(DEFAULT), SMALL | given)
    growths = [measure(config, name, args.rounds) for name in names]
    where = surroundings(("jax", "jaxlib"))
    said = table(growths)
    print(said, end="")
    print(f"\n{where}")
    if args.out is not None:
        args.out.mkdir(parents=True, exist_ok=True)
        rows = [
            growth._asdict()
            | {"seconds": growth.seconds.tolist(), "memory": growth.memory.tolist()}
            for growth in growths
        ]
        kept = {"command": "python -m benchmarks.scaling", **where, "rows": rows}
        text.write(args.out / "scaling.json", json.dumps(kept, indent=1) + "\n")
        text.write(args.out / "scaling.md", said)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except UserError as error:
        sys.exit(f"benchmarks.scaling: {error}")
