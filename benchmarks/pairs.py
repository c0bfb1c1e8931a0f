"""Comparisons with a peer: interleaved pairs, their quartiles, where they were taken.

What else a machine does falls on both sides of a pair alike, so what is compared are
the ratios of pairs, never two times of different hours.
"""

import argparse
import dataclasses
import json
import os
import platform
import sys
from collections.abc import Callable, Iterable, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from resseg import text
from resseg.console import counting

Side = Callable[[], float]  # measures once; returns seconds, or what else is less


@dataclasses.dataclass(frozen=True)
class Comparison:
    """A row: what both sides took, pair by pair.

    Attributes:
        what: was done.
        ours: seconds of our side, one of each pair.
        theirs: seconds of the peer.
        peer: what the peer is, and its setting.
        work: units of `unit` done in those seconds, for rates; None for times.
        unit: of `work`, such as images.
        note: what a reader has to know of this row.
    """

    what: str
    ours: Sequence[float]
    theirs: Sequence[float]
    peer: str
    work: float | None = None
    unit: str = ""
    note: str = ""

    def speed(self) -> np.ndarray:
        """Quartiles `[3]` of how many times as fast as the peer ours is."""
        return quartiles(np.asarray(self.theirs) / np.asarray(self.ours))

    def summary(self) -> dict[str, Any]:
        """The row with its quartiles, ready for JSON."""
        return dataclasses.asdict(self) | {
            "pairs": len(self.ours),
            "speed": self.speed().tolist(),
            "seconds": {
                "ours": quartiles(self.ours).tolist(),
                "theirs": quartiles(self.theirs).tolist(),
            },
        }

    def cells(self) -> list[str]:
        """The row of a Markdown table."""
        low, middle, high = self.speed()
        return [
            self.what,
            self._figure(self.ours),
            f"{self._figure(self.theirs)} ({self.peer})",
            f"**{middle:.2f}** ({low:.2f} to {high:.2f}, {len(self.ours)} pairs)",
            self.note,
        ]

    def _figure(self, seconds: Sequence[float]) -> str:
        middle = float(np.median(seconds))
        if self.work is not None:
            return f"{self.work / middle:.4g} {self.unit}/s"
        return f"{middle:.3g} s" if middle >= 1 else f"{1e3 * middle:.3g} ms"


def interleaved(
    ours: Side, theirs: Side, pairs: int, what: str = "pairs"
) -> tuple[list[float], list[float]]:
    """Measures `pairs` pairs, in turns which side comes first.

    Args:
        ours: measures our side once.
        theirs: measures the peer once.
        pairs: how many of each.
        what: is counted, for the progress line.

    Returns:
        What our side gave, and what the peer gave.
    """
    left, right = [], []
    with counting(what, pairs) as done:
        for pair in range(pairs):
            sides = [(ours, left), (theirs, right)]
            for side, kept in sides if pair % 2 == 0 else reversed(sides):
                kept.append(side())
            done(1)
    return left, right


def quartiles(values: Iterable[float]) -> np.ndarray:
    """Lower quartile, median and upper quartile, `[3]`."""
    return np.quantile(np.asarray(list(values), np.float64), [0.25, 0.5, 0.75])


def surroundings(packages: Iterable[str]) -> dict[str, Any]:
    """Device, cores, load and versions, ready for JSON.

    Args:
        packages: whose versions are said, by their names in the registry.
    """
    return {
        "device": _device(),
        "cores": len(os.sched_getaffinity(0)),
        "load": round(os.getloadavg()[0], 1),
        "python": platform.python_version(),
        "versions": {name: metadata.version(name) for name in packages},
    }


def markdown(rows: Sequence[Comparison], where: dict[str, Any]) -> str:
    """A table of the rows, and a line on where they were measured."""
    head = ["what", "ours", "peer", "speed of ours (quartiles)", "note"]
    lines = [head, ["---"] * len(head), *(row.cells() for row in rows)]
    table = "\n".join("| " + " | ".join(cells) + " |" for cells in lines)
    versions = ", ".join(f"{name} {said}" for name, said in where["versions"].items())
    return (
        f"{table}\n\n{where['device']}, {where['cores']} cores, load {where['load']}; "
        f"Python {where['python']}, {versions}.\n"
    )


def add_options(parser: argparse.ArgumentParser, pairs: int) -> None:
    """The options that every comparison has: how many pairs, and where they go."""
    parser.add_argument("--pairs", type=int, default=pairs, metavar="N")
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="keeps NAME.json and NAME.md here too"
    )


def report(
    name: str, rows: Sequence[Comparison], packages: Iterable[str], out: Path | None
) -> None:
    """Prints the table; with `out`, writes `NAME.json` and `NAME.md` there.

    Args:
        name: of the benchmark.
        rows: of its table.
        packages: whose versions are said.
        out: folder, made where it is missing; None only prints.
    """
    where = surroundings(packages)
    table = markdown(rows, where)
    print(table, end="")
    if out is None:
        return
    out.mkdir(parents=True, exist_ok=True)
    values = {"command": f"python -m benchmarks.{name}", **where}
    values["arguments"] = sys.argv[1:]
    values["rows"] = [row.summary() for row in rows]
    text.write(out / f"{name}.json", json.dumps(values, indent=1) + "\n")
    text.write(out / f"{name}.md", table)


def _device() -> str:
    """The accelerator that JAX computes on, or else the processor by its name."""
    jax = sys.modules.get("jax")
    if jax is not None and jax.default_backend() != "cpu":
        return f"{jax.device_count()} x {jax.devices()[0].device_kind}"
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2] for line in lines if line.startswith("model name")]
    return (names[0] if names else platform.processor() or platform.machine()).strip()
