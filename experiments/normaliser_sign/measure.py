"""R3: a halved shortcut makes gradients explode with batch norm and vanish without.

python -m experiments.normaliser_sign.measure [--quick] [--out DIR]

y = x / 2 + w h(x) with L blocks at initialisation: with batch norm and w = 1, and
without norm, He initialisation, w = L^-0.5, where independent branches give the first
block (1/4 + 1/L)^((L-1)/2) of the last one's gradient. At 16 x 16 zero padding takes
1 - (46/48)^2 of what a 3x3 convolution passes on, so that 1/L becomes .843/L. 3 minutes
on 2 CPU cores; --quick: L = 6 alone, one seed.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from experiments.common import (
    geometric,
    one_stage,
    over_variants,
    parse_arguments,
    profiles,
    write,
)
from resseg.figures import new_figure, style

DEPTHS, SEEDS = (6, 12, 24, 54), 3
PADDING = (46 / 48) ** 4  # of two 3x3 convolutions: neighbours inside of the image
NORMS = ("batch", "none")
LOSS_SCALE = 2.0**40


def config(norm: str, blocks: int):
    """The network with the halved shortcut."""
    keys = {
        "model__norm": norm,
        "model__backbone__order": "pre",
        "model__shortcut__kind": "constant",
        "model__shortcut__scale": 0.5,
    }
    if norm == "none":
        keys["model__branch__scale"] = '{"power": -0.5}'
    return one_stage(blocks, **keys)


def predicted(blocks: int) -> float:
    """Without norm: first over last block, the padding counted."""
    return (0.25 + PADDING / blocks) ** ((blocks - 1) / 2)


def table(results: dict[tuple[str, int], np.ndarray]) -> pd.DataFrame:
    """One row per norm and depth."""
    rows = []
    for (norm, blocks), norms in results.items():
        ratios = norms[:, 0] / norms[:, -1]
        rows.append(
            {
                "norm": norm,
                "blocks": blocks,
                "ratio": geometric(ratios),
                "smallest": ratios.min(),
                "largest": ratios.max(),
                "predicted": predicted(blocks) if norm == "none" else np.nan,
            }
        )
    return pd.DataFrame(rows)


def draw(rows: pd.DataFrame):
    """Ratio over depth, both norms, and the prediction."""
    figure = new_figure(6, 4)
    axes = figure.subplots()
    for number, norm in enumerate(NORMS):
        part = rows[rows["norm"] == norm]
        name = "batch norm" if norm == "batch" else "no norm, w = L^-0.5"
        axes.plot(part["blocks"], part["ratio"], label=name, **style(number))
        axes.fill_between(
            part["blocks"], part["smallest"], part["largest"], alpha=0.2, color="0.4"
        )
    axes.plot(part["blocks"], part["predicted"], "k:", label="(1/4 + .843/L)^((L-1)/2)")
    axes.axhline(1, color="0.6", linewidth=0.8)
    axes.set_yscale("log")
    axes.set_xlabel("blocks L")
    axes.set_ylabel("gradient at the first / last block")
    axes.legend(fontsize=8)
    return figure


def main() -> None:
    args = parse_arguments(__doc__, Path(__file__).parent)
    depths, seeds = (DEPTHS[:1], 1) if args.quick else (DEPTHS, SEEDS)
    pairs = {(norm, blocks): (norm, blocks) for norm in NORMS for blocks in depths}
    rows = table(
        over_variants(
            pairs, lambda pair: profiles(config(*pair), range(seeds), LOSS_SCALE)
        )
    )
    write(args.out, rows, draw(rows))


if __name__ == "__main__":
    main()
