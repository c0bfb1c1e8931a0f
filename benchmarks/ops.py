"""Each convolution as `resseg.models.ops` has it, against the plain one.

python -m benchmarks.ops [--only WORD] [--pairs N] [--out DIR]

Value, gradient of the input and gradient of the kernel, in interleaved pairs; the note
holds what ours reaches in GFLOP/s of useful products, and the share of what a large
matrix product reaches on this machine (`benchmarks.peak`). The rules of `ops` stand on
this table: where a formulation is not ahead here, it should not be chosen.
"""

import argparse
import functools
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.pairs import Comparison, add_options, interleaved, report
from benchmarks.peak import peak
from resseg.models.ops import convolution
from resseg.models.ops.choice import Formulation, current, formulation


class Case(NamedTuple):
    """A convolution of a network that people train."""

    what: str
    batch: int
    side: int
    inputs: int
    outputs: int
    kernel: int = 3
    strides: int = 1
    dilation: int = 1
    groups: int = 1

    @property
    def flops(self) -> float:
        """Of the plain one; products with padding count."""
        pixels = self.batch * (self.side // self.strides) ** 2
        inner = self.inputs // self.groups
        return 2.0 * pixels * self.kernel**2 * inner * self.outputs


CASES = [
    Case("stem", 8, 128, 3, 64, kernel=7, strides=2),
    Case("stage 1, basic", 8, 32, 64, 64),
    Case("stage 4, basic", 8, 4, 512, 512),
    Case("U-Net, last level", 8, 128, 16, 16),
    Case("U-Net, scores", 8, 128, 16, 21),
    Case("bottleneck, 1x1", 2, 32, 1024, 256, kernel=1),
    Case("stage 4, dilation 2", 2, 32, 512, 512, dilation=2),
    Case("FCN head", 2, 32, 2048, 512),
    Case("ASPP, rate 12", 2, 32, 2048, 256, dilation=12),
    Case("ASPP, rate 36", 2, 32, 2048, 256, dilation=36),
    Case("separable ASPP, rate 12", 4, 16, 2048, 2048, dilation=12, groups=2048),
    Case("separable decoder", 4, 64, 304, 304, groups=304),
]


def timer(run: Callable[..., Any], *arguments: jax.Array) -> Callable[[], float]:
    """Compiled and warm."""
    compiled = jax.jit(run)
    jax.block_until_ready(compiled(*arguments))

    def once() -> float:
        began = time.perf_counter()
        jax.block_until_ready(compiled(*arguments))
        return time.perf_counter() - began

    return once


def parts(case: Case, chosen: Formulation) -> dict[str, Callable[[], float]]:
    """Timers of the value and of both gradients, in that formulation."""
    draw = np.random.default_rng(0)
    inner = case.inputs // case.groups
    shapes = (
        (case.batch, case.side, case.side, case.inputs),
        (case.kernel, case.kernel, inner, case.outputs),
    )
    x, kernel = (jnp.asarray(draw.normal(size=s), jnp.float32) for s in shapes)
    settings = case.strides, case.dilation, case.groups

    def run(x: jax.Array, kernel: jax.Array) -> jax.Array:
        return convolution.convolve(x, kernel, *settings)

    def back(place: int, x: jax.Array, kernel: jax.Array, g: jax.Array) -> Any:
        of = (lambda a: run(a, kernel)) if place == 0 else (lambda a: run(x, a))
        return jax.vjp(of, (x, kernel)[place])[1](g)

    with formulation(chosen):
        g = jax.jit(run)(x, kernel) / 10
        return {
            "value": timer(run, x, kernel),
            "input's gradient": timer(functools.partial(back, 0), x, kernel, g),
            "kernel's gradient": timer(functools.partial(back, 1), x, kernel, g),
        }


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.ops",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_options(parser, 9)
    parser.add_argument("--only", default="", metavar="WORD", help="of its name")
    args = parser.parse_args(argv)
    best, rows = peak() / 1e9, []
    for case in CASES:
        if args.only not in case.what:
            continue
        chosen = parts(case, current())
        plain = parts(case, Formulation.PLAIN)
        for part, ours in chosen.items():
            seconds = interleaved(ours, plain[part], args.pairs, case.what)
            rate = case.flops / float(np.median(seconds[0])) / 1e9
            note = f"{rate:.0f} GFLOP/s, {100 * rate / best:.0f} % of a product's"
            rows.append(
                Comparison(f"{case.what}: {part}", *seconds, "plain", note=note)
            )
    report("ops", rows, ("jax", "jaxlib"), args.out)


if __name__ == "__main__":
    main(sys.argv[1:])
