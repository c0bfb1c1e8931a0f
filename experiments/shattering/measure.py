"""R8: with depth the gradients of different inputs lose their resemblance.

python -m experiments.shattering.measure [--quick] [--out DIR]

Fully connected ReLU networks of width 200, batch statistics as normaliser, at
initialisation: R = E<g(x), g(x')> / E|g|^2 of independent Gaussian inputs. Predicted
for independent masks (Balduzzi et al. 2017; O11 of the catalogue): plain 2^-L, residual
without norm (3/4)^L, residual behind a normaliser, whose branch has the size
1 / sqrt(l + 1), G(L + 3/2) / (G(3/2) G(L + 2)), about 1.13 L^-0.5. Half a minute on 2
CPU cores; --quick: 8 layers at most, 2 draws.
"""

import math
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from experiments.common import over_variants, parse_arguments, write
from resseg.figures import new_figure, style
from resseg.gradients.analysis.correlation import overlap

WIDTH, INPUTS, DRAWS = 200, 64, 20
DEPTHS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 50)
KINDS = ("plain, norm", "residual, no norm", "residual, norm")


def exact(kind: str, depth: int) -> float:
    """R of the stylised network: masks are independent coin flips for every input."""
    if kind == "plain, norm":
        return 0.5**depth
    if kind == "residual, no norm":
        return 0.75**depth
    logs = (math.lgamma(depth + 1.5), math.lgamma(1.5), math.lgamma(depth + 2))
    return math.exp(logs[0] - logs[1] - logs[2])


def gradients(key: jax.Array, kind: str, depth: int) -> jax.Array:
    """Gradient of one output with respect to each of the inputs: `[INPUTS, WIDTH]`.

    The statistics are those of the inputs together and count as constants, as in a
    network that is evaluated.
    """
    keys = jax.random.split(key, depth + 2)
    inputs = jax.random.normal(keys[-1], (INPUTS, WIDTH))

    def output(x):
        for layer in range(depth):
            h = x
            if kind != "residual, no norm":
                fixed = jax.lax.stop_gradient(x)
                mean, std = fixed.mean(0, keepdims=True), fixed.std(0, keepdims=True)
                h = (x - mean) / (std + 1e-6)
            weights = jax.random.normal(keys[layer], (WIDTH, WIDTH))
            h = jax.nn.relu(h) @ weights * math.sqrt(2 / WIDTH)
            x = x + h if kind.startswith("residual") else h
        return jnp.sum(x @ jax.random.normal(keys[-2], (WIDTH,)))

    return jax.grad(output)(inputs)


def correlation(kind: str, depth: int, draws: int) -> float:
    """R over `draws` networks."""
    measured = jax.jit(gradients, static_argnums=(1, 2))
    pairs = [
        overlap(np.asarray(measured(jax.random.key(draw), kind, depth)))
        for draw in range(draws)
    ]
    cross, square = np.mean(pairs, axis=0)
    return float(cross / square)


def table(results: dict[tuple[str, int], float]) -> pd.DataFrame:
    """One row per kind and depth, with the exact answer of the stylised network."""
    return pd.DataFrame(
        [
            {
                "network": kind,
                "layers": depth,
                "R": values,
                "stylised": exact(kind, depth),
            }
            for (kind, depth), values in results.items()
        ]
    )


def fits(rows: pd.DataFrame) -> list[str]:
    """Factor per layer, or exponent of the depth, by least squares of log R."""
    sentences = []
    for kind in KINDS:
        part = rows[(rows["network"] == kind) & (rows["R"] > 1e-3)]
        if len(part) < 2:
            continue
        layers, logs = part["layers"].to_numpy(float), np.log(part["R"].to_numpy())
        rate = np.exp(np.polyfit(layers, logs, 1)[0])
        power = np.polyfit(np.log(layers), logs, 1)[0]
        sentences.append(
            f"{kind}: x{rate:.3f} per layer, or as L^{power:.2f} ({len(part)} depths)"
        )
    return sentences


def draw(rows: pd.DataFrame):
    """R over depth, measured and exact."""
    figure = new_figure(6.5, 4.2)
    axes = figure.subplots()
    for number, kind in enumerate(KINDS):
        part = rows[(rows["network"] == kind) & (rows["R"] > 1e-4)]
        axes.plot(part["layers"], part["R"], label=kind, **style(number))
        look = {"color": style(number)["color"], "linewidth": 0.8, "linestyle": ":"}
        every = np.arange(1, rows["layers"].max() + 1)
        axes.plot(every, [exact(kind, depth) for depth in every], **look)
    axes.plot([], [], "k:", linewidth=0.8, label="independent masks, exact")
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_ylim(1e-4, 1.2)
    axes.set_xlabel("layers L")
    axes.set_ylabel("R, resemblance of gradients")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    return figure


def main() -> None:
    args = parse_arguments(__doc__, Path(__file__).parent)
    depths = [d for d in DEPTHS if d <= 8] if args.quick else DEPTHS
    draws = 2 if args.quick else DRAWS
    pairs = {(kind, depth): (kind, depth) for kind in KINDS for depth in depths}
    rows = table(over_variants(pairs, lambda pair: correlation(*pair, draws)))
    write(args.out, rows, draw(rows))
    for sentence in fits(rows):
        print(sentence)


if __name__ == "__main__":
    main()
