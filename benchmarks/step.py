"""A train step and a forward pass against PyTorch, each at its better memory format.

python -m benchmarks.step [--only NAME,…] [--mode train|infer] [--pairs N] [--out DIR]

Published networks with the same weights, batch and optimizer (SGD with momentum)
on both sides, every fork measured on ours. The sides are processes of their own, so
that neither waits for threads of the other, and step in turns; what counts is the ratio
of each pair. On a CPU: five networks, torch at both memory formats, and the faster one
is the peer; RESSEG_ONEDNN=1 measures our side with the convolutions of oneDNN. On a
GPU: two larger ones in bfloat16, and the peer is torch.compile in channels-last. The
note holds the rate of useful products, and its share of that of a large matrix product.
"""

import argparse
import contextlib
import functools
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np

from benchmarks.networks import LARGE, NETWORKS, SMALL
from benchmarks.pairs import Comparison, add_options, interleaved, report
from resseg import malloc

ROOT = Path(__file__).resolve().parent.parent
OURS = "benchmarks.our_side"
FORMATS = {"cpu": ("channels_last", "contiguous"), "gpu": ("compiled",)}
MODES = {"train": "train step", "infer": "forward pass of one image"}
AGREE = 0.02  # relative difference of first losses: a dropout draws other numbers


def surroundings() -> dict[str, str]:
    """The environment of a side."""
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return os.environ | {"PYTHONPATH": os.pathsep.join(paths)}


def ours() -> dict[str, str]:
    """That of our side, which keeps memory where `resseg train` does."""
    given = surroundings()
    return given | malloc.keeping(given)


class Process:
    """A side that steps when told."""

    def __init__(self, python: str, *arguments: str):
        self._process = subprocess.Popen(
            [python, "-m", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env=ours() if arguments[0] == OURS else surroundings(),
        )
        self._what = " ".join(arguments)

    @functools.cached_property
    def said(self) -> dict[str, Any]:
        """What it printed when it was ready."""
        line = self._answer()
        if not line:
            raise SystemExit(f"benchmarks.step: {self._what} ended early")
        return json.loads(line)

    def __call__(self, steps: int) -> float:
        """Seconds per step."""
        assert self._process.stdin is not None
        print(steps, file=self._process.stdin, flush=True)
        return float(self._answer())

    def _answer(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline()

    def end(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


@contextlib.contextmanager
def process(*arguments: str) -> Iterator[Process]:
    side = Process(*arguments)
    try:
        yield side
    finally:
        side.end()


def compare(name: str, mode: str, args: argparse.Namespace) -> Comparison:
    """One row: both sides of one network."""
    network, forms = NETWORKS[name], FORMATS[args.platform]
    taps = "plain" if args.no_taps else "taps"
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:

        def start(*arguments: str) -> Process:
            return stack.enter_context(process(*arguments))

        torch = args.torch_python, "benchmarks.torch_side", name
        weights = ""
        if network.layout != "ours":
            weights = str(Path(folder) / "weights.npz")
            subprocess.run(
                [torch[0], "-m", *torch[1:], "weights", weights],
                check=True,
                env=surroundings(),
            )
        # All of them compile at once.
        peers = {form: start(*torch, mode, form) for form in forms}
        ours = start(sys.executable, OURS, name, mode, taps, weights)
        for peer in peers.values():
            check(name, ours, peer, same_weights=bool(weights))
        form = min(forms, key=lambda form: median(peers[form], args.steps))
        seconds = interleaved(
            lambda: ours(args.steps),
            lambda: peers[form](args.steps),
            args.pairs,
            name,
        )
        batch = network.batch if mode == "train" else 1
        return Comparison(
            f"{MODES[mode]}, {network.title}, {network.side}², batch {batch}, "
            f"{network.dtype}",
            *seconds,
            peer=f"torch {peers[form].said['version']}, {form}",
            work=batch,
            unit="images",
            note=note(ours.said, float(np.median(seconds[0]))),
        )


def note(said: dict[str, Any], seconds: float) -> str:
    """Versions; useful products per second, and their share of what there is."""
    rate, best = said["flops"] / seconds, said["peak"]
    share = f"{rate / 1e12:.3g} of {best / 1e12:.3g} TFLOP/s, {100 * rate / best:.0f} %"
    return f"{said['version']}; {share}"


def median(side: Process, steps: int) -> float:
    return float(np.median([side(steps) for _ in range(3)]))


def check(name: str, ours: Process, theirs: Process, *, same_weights: bool) -> None:
    """Both sides compute the same network.

    Raises:
        SystemExit: they do not.
    """
    if ours.said["parameters"] != theirs.said["parameters"]:
        raise SystemExit(f"{name}: {ours.said} against {theirs.said}")
    one, other = ours.said["first"], theirs.said["first"]
    if same_weights and abs(one - other) > AGREE * abs(other):
        raise SystemExit(f"{name}: first step says {one}, torch {other}")


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.step",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_options(parser, 9)
    parser.add_argument(
        "--only", metavar="NAME,…", help=f"of {', '.join(NETWORKS)}; by the device"
    )
    parser.add_argument("--mode", choices=(*MODES, "both"), default="both")
    parser.add_argument("--steps", type=int, default=1, metavar="N", help="per time")
    parser.add_argument("--no-taps", action="store_true", help="measure no fork")
    parser.add_argument(
        "--torch-python", default=sys.executable, metavar="FILE", help="that has torch"
    )
    args = parser.parse_args(argv)
    # Three processes share what memory a GPU has.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    modes = MODES if args.mode == "both" else (args.mode,)
    args.platform = "cpu" if jax.default_backend() == "cpu" else "gpu"
    by_device = SMALL if args.platform == "cpu" else LARGE
    names = args.only.split(",") if args.only else by_device
    rows = [compare(name, mode, args) for mode in modes for name in names]
    report("step", rows, ("jax", "jaxlib"), args.out)


if __name__ == "__main__":
    main(sys.argv[1:])
