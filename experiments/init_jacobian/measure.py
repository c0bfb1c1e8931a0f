"""R12: Jacobians and Hessians at initialisation, where the answer is known.

python -m experiments.init_jacobian.measure [--quick] [--out DIR]

Left: the largest singular value of every block of a residual network of 12 blocks;
with a branch that starts as the zero map (zero gamma) all are 1 (O13). Right: deep
linear networks x + W_m ... W_1 x with all weights 0: with m = 2 the condition number of
the Hessian does not depend on the depth, with m = 1 it grows, with m >= 3 there is
neither gradient nor curvature (O12). One minute on 2 CPU cores; --quick: 3 blocks.
"""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from experiments.common import one_stage, over_variants, parse_arguments, write
from resseg.figures import new_figure, style
from resseg.probes import jacobian, subject
from resseg.probes.probe import Options

BLOCKS, DEPTHS, LAYERS = 12, (1, 2, 4, 8), (1, 2, 3)
VARIANTS: dict[str, dict[str, Any]] = {
    "identity": {},
    "zero gamma": {"model__branch__init": "zero_gamma"},
    "plain": {"model__shortcut__kind": "none"},
    "no norm": {"model__norm": "none"},
    "no norm, L^-0.5": {
        "model__norm": "none",
        "model__branch__scale": '{"power": -0.5}',
    },
}


def blocks(keys: dict[str, Any], count: int) -> pd.DataFrame:
    """Largest singular value and gain of every block."""
    config = one_stage(count, model__backbone__order="pre", **keys)
    asked = subject.at_init("jacobian", config)
    rows = pd.DataFrame(
        jacobian.measure(asked, Options(batches=1, samples=2, iterations=20))
    )
    return rows[rows["part"] == "block"]


def linear(depth: int, layers: int, size: int = 3) -> tuple[float, float, float]:
    """Norms of gradient and Hessian at 0, and its condition number, in float64."""
    draw = np.random.default_rng(4)
    x, target = draw.standard_normal((2, size, 40))

    def loss(weights):
        y = x
        for block in range(depth):
            h = y
            for layer in range(layers):
                h = weights[block, layer] @ h
            y = y + h
        return 0.5 * jnp.sum((y - target) ** 2) / x.shape[1]

    with jax.enable_x64(True):
        weights = jnp.zeros((depth, layers, size, size))
        gradient = np.asarray(jax.jit(jax.grad(loss))(weights))
        count = gradient.size
        hessian = jax.jit(jax.hessian(loss))(weights).reshape(count, count)
    values = np.abs(np.linalg.eigvalsh(hessian))
    condition = values.max() / values.min() if values.min() > 0 else np.nan
    return float(np.linalg.norm(gradient)), float(values.max()), float(condition)


def table(results: dict[str, pd.DataFrame], depths) -> pd.DataFrame:
    """One row per network and block, and per linear network."""
    rows = [
        {
            "network": name,
            "place": place,
            "sigma_max": row["sigma_max"],
            "gain": row["gain"],
        }
        for name, values in results.items()
        for place, row in enumerate(values.to_dict("records"), 1)
    ]
    for layers in LAYERS:
        for depth in depths:
            gradient, curvature, condition = linear(depth, layers)
            rows.append(
                {
                    "network": f"linear, m = {layers}",
                    "place": depth,
                    "gradient": gradient,
                    "curvature": curvature,
                    "condition": condition,
                }
            )
    return pd.DataFrame(rows)


def draw(rows: pd.DataFrame):
    """Singular values over depth; condition numbers over depth."""
    figure = new_figure(9.5, 4)
    left, right = figure.subplots(1, 2)
    for number, name in enumerate(VARIANTS):
        part = rows[rows["network"] == name]
        left.plot(part["place"], part["sigma_max"], label=name, **style(number))
    left.set_yscale("log")
    left.set_xlabel("block, first to last")
    left.set_ylabel("largest singular value")
    left.legend(fontsize=8)
    for number, layers in enumerate(LAYERS):
        part = rows[rows["network"] == f"linear, m = {layers}"]
        name = f"m = {layers}" + (": no curvature at all" if layers > 2 else "")
        right.plot(part["place"], part["condition"], label=name, **style(number))
    right.set_yscale("log")
    right.set_xlabel("linear blocks")
    right.set_ylabel("condition number of the Hessian at 0")
    right.legend(fontsize=8)
    return figure


def main() -> None:
    args = parse_arguments(__doc__, Path(__file__).parent)
    count, depths = (3, DEPTHS[:2]) if args.quick else (BLOCKS, DEPTHS)
    results = over_variants(VARIANTS, lambda keys: blocks(keys, count))
    rows = table(results, depths)
    write(args.out, rows, draw(rows))


if __name__ == "__main__":
    main()
