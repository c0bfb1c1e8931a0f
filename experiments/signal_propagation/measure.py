"""R7: how the forward signal grows over the blocks of four residual networks.

python -m experiments.signal_propagation.measure [--quick] [--out DIR]

Pre-activation, 18 blocks, at initialisation. With batch norm the second moment grows by
the same amount, about 1, in each block of a stage and starts again behind a transition;
without norm it doubles; a branch scaled by L^-0.5 (the order of SkipInit) keeps it
below e; a h(x / beta) of normaliser-free networks, a = 0.2, adds a^2 per block. Zero
padding at 32 x 32 takes 1 - (94/96)^4 of what a branch adds. Two minutes on 2 CPU
cores; --quick: 2 blocks per stage, one seed.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from experiments.common import one_stage, over_variants, parse_arguments, write
from resseg.figures import new_figure, style
from resseg.probes import signal, subject
from resseg.probes.probe import Options

STAGES, SEEDS = 6, 3
WIDTH = 32
A = 0.2  # Brock et al. 2021


def variants(blocks: int) -> dict[str, dict[str, Any]]:
    """Overrides of each network, `blocks` per stage."""
    stages = {
        "model__backbone__width": WIDTH,
        "model__backbone__stage_sizes": (blocks,) * 3,
        "model__backbone__stage_strides": (1, 2, 2),
        "model__backbone__output_stride": 4,
        "data__crop": (32, 32),
        "model__backbone__order": "pre",
    }
    free = {"model__norm": "none"}
    count = 3 * blocks
    # A branch without biases is positively homogeneous: h(x / beta) = h(x) / beta.
    scales = tuple(A / np.sqrt(1 + A**2 * block) for block in range(count))
    one = {
        "model__backbone__stage_sizes": (count,),
        "model__backbone__stage_strides": (1,),
        "model__backbone__output_stride": 1,
    }
    return {
        "batch norm": stages,
        "no norm": stages | free,
        "no norm, L^-0.5": stages
        | one
        | free
        | {"model__branch__scale": '{"power": -0.5}'},
        "a h(x / beta)": stages | one | free | {"model__branch__scale": scales},
    }


def curves(keys: dict[str, Any], seeds: int) -> np.ndarray:
    """Second moment behind every block, mean of seeds: `[blocks]`.

    Without norm over that in front of the first block: there only ratios are fixed.
    """
    moments = []
    for seed in range(seeds):
        config = one_stage(1, seed=seed, **keys)
        table = pd.DataFrame(
            signal.measure(subject.at_init("signal", config), Options(batches=1))
        )
        moments.append(table["mean_squared"] + table["variance"])
        if config.model.norm == "none":
            moments[-1] /= table["shortcut_rms"][0] ** 2
    return np.mean(moments, axis=0)


def table(results: dict[str, np.ndarray]) -> pd.DataFrame:
    """One row per network and block."""
    return pd.DataFrame(
        [
            {"network": name, "block": block, "second_moment": moment}
            for name, curve in results.items()
            for block, moment in enumerate(curve, 1)
        ]
    )


def draw(results: dict[str, np.ndarray]):
    """The curves, logarithmic, and on a linear scale where they stay small."""
    figure = new_figure(9, 4)
    left, right = figure.subplots(1, 2)
    for number, (name, curve) in enumerate(results.items()):
        block = np.arange(1, len(curve) + 1)
        left.plot(block, curve, label=name, **style(number))
        if name != "no norm":
            right.plot(block, curve, label=name, **style(number))
    left.set_yscale("log")
    left.set_ylabel("second moment (no norm: over the input's)")
    right.set_title("the same, linear", fontsize=9)
    left.legend(fontsize=8)
    for axes in (left, right):
        axes.set_xlabel("block")
        axes.grid(alpha=0.3)
    return figure


def main() -> None:
    args = parse_arguments(__doc__, Path(__file__).parent)
    blocks, seeds = (2, 1) if args.quick else (STAGES, SEEDS)
    results = over_variants(variants(blocks), lambda keys: curves(keys, seeds))
    write(args.out, table(results), draw(results))


if __name__ == "__main__":
    main()
