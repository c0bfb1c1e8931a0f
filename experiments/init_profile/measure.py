"""R1: is the order of He et al. 2016, Tables 1 and 2, visible at initialisation?

python -m experiments.init_profile.measure [--quick] [--out DIR]

For every variant of the shortcut and of the order of operations: the gradient at the
first of 54 blocks over that at the last, before any training, 3 seeds. About 20 minutes
on 2 CPU cores, nearly all of it compilation, and a third of that with the environment
variable XLA_FLAGS=--xla_backend_optimization_level=0; --quick takes 6 blocks and one
seed.
"""

from pathlib import Path
from typing import Any, NamedTuple

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

BLOCKS, SEEDS = 54, 3
FAILED = 20.0  # error in percent from which the paper says "fail"


class Initialisation(NamedTuple):
    """A row of the paper.

    Attributes:
        keys: config keys, `__` for a dot.
        error: CIFAR-10 error of ResNet-110 in percent, median of 5 (He et al. 2016);
            FAILED where the paper says "fail", None where it has no such row.
        judged: whether the rule speaks of it: the catalogue leaves out dropout, whose
            forward noise is the trouble, and gates between -3 and -5.
    """

    keys: dict[str, Any]
    error: float | None
    judged: bool = True


def _shortcut(kind: str, **more: Any) -> dict[str, Any]:
    keys: dict[str, Any] = {"model__shortcut__kind": kind}
    return keys | {f"model__{key}": value for key, value in more.items()}


def _order(order: str) -> dict[str, Any]:
    return {"model__backbone__order": order}


VARIANTS = {
    "identity": Initialisation({}, 6.61),
    "plain": Initialisation(_shortcut("none"), FAILED),
    "constant 0.5": Initialisation(_shortcut("constant", shortcut__scale=0.5), FAILED),
    "constant 0.5, branch 0.5": Initialisation(
        _shortcut("constant", shortcut__scale=0.5, branch__scale=0.5), 12.35
    ),
    "exclusive gate 0": Initialisation(
        _shortcut("gate_exclusive", shortcut__gate_bias=0.0), FAILED
    ),
    "exclusive gate -3": Initialisation(
        _shortcut("gate_exclusive", shortcut__gate_bias=-3.0), FAILED, judged=False
    ),
    "exclusive gate -6": Initialisation(
        _shortcut("gate_exclusive", shortcut__gate_bias=-6.0), 8.70
    ),
    "exclusive gate -7": Initialisation(
        _shortcut("gate_exclusive", shortcut__gate_bias=-7.0), 9.81
    ),
    "shortcut gate 0": Initialisation(
        _shortcut("gate_shortcut", shortcut__gate_bias=0.0), 12.86
    ),
    "shortcut gate -6": Initialisation(
        _shortcut("gate_shortcut", shortcut__gate_bias=-6.0), 6.91
    ),
    "1x1 convolution": Initialisation(_shortcut("conv1x1"), 12.22),
    "dropout 0.5": Initialisation(
        _shortcut("dropout", shortcut__rate=0.5), FAILED, judged=False
    ),
    "BN after the sum": Initialisation(_order("bn_after_add"), 8.17),
    "ReLU before the sum": Initialisation(_order("relu_before_add"), 7.84),
    "ReLU-only pre-activation": Initialisation(_order("relu_only_pre"), 6.71),
    "full pre-activation": Initialisation(_order("pre"), 6.37),
    "zero gamma": Initialisation({"model__branch__init": "zero_gamma"}, None),
    "no norm": Initialisation({"model__norm": "none"}, None),
    "no norm, branch L^-0.5": Initialisation(
        {"model__norm": "none", "model__branch__scale": '{"power": -0.5}'}, None
    ),
}


def table(results: dict[str, np.ndarray]) -> pd.DataFrame:
    """A row per variant: error, ratio (geometric mean, smallest, largest), verdict."""
    rows = []
    for name, norms in results.items():
        variant = VARIANTS[name]
        ratios = norms[:, 0] / norms[:, -1]
        rows.append(
            {
                "variant": name,
                "published_error": variant.error,
                "ratio": geometric(ratios),
                "smallest": ratios.min(),
                "largest": ratios.max(),
                "rule": verdict(variant, float(geometric(ratios))),
            }
        )
    return pd.DataFrame(rows)


def verdict(variant: Initialisation, ratio: float) -> str:
    """Error of 12 % and more: above 1e5; below 9 %: below 1e4; "" where not judged."""
    if variant.error is None or not variant.judged:
        return ""
    if variant.error >= 12:
        return "holds" if ratio > 1e5 else "fails"
    if variant.error < 9:
        return "holds" if ratio < 1e4 else "fails"
    return ""


def profile_table(results: dict[str, np.ndarray]) -> pd.DataFrame:
    """A row per variant, seed and block: the norm over that of the last block."""
    return pd.DataFrame(
        [
            {"variant": name, "seed": seed, "block": block, "ratio": ratio}
            for name, norms in results.items()
            for seed, profile in enumerate(norms / norms[:, -1:])
            for block, ratio in enumerate(profile, 1)
        ]
    )


def draw(profiles: pd.DataFrame):
    """Profiles over depth, and the ratio against the published error."""
    figure = new_figure(13, 6)
    left, right = figure.subplots(1, 2, width_ratios=(1.1, 1))
    first = profiles[profiles["block"] == 1]
    ratios = {name: rows["ratio"].to_numpy() for name, rows in first.groupby("variant")}
    order = sorted(ratios, key=lambda name: -geometric(ratios[name]))
    for number, name in enumerate(order):
        rows = profiles[profiles["variant"] == name].pivot(
            index="seed", columns="block", values="ratio"
        )
        error = VARIANTS[name].error
        known = (
            "" if error is None else f" ({error:g})" if error < FAILED else " (fail)"
        )
        colour, line = look(VARIANTS[name])
        left.plot(
            rows.columns,
            geometric(rows.to_numpy()),
            label=name + known,
            color=colour,
            linestyle=line,
            marker=MARKERS[number % len(MARKERS)],
            markevery=(number % 6, 8),
            markersize=4,
        )
    left.set_yscale("log")
    left.set_xlabel("block, first to last")
    left.set_ylabel("gradient at the block / at the last block")
    left.legend(fontsize=7, loc="center left", bbox_to_anchor=(1.0, 0.5))
    chosen = [name for name in order if VARIANTS[name].error is not None]
    places = label_places({name: ratios[name] for name in chosen})
    for name in chosen:
        variant = VARIANTS[name]
        mark = "o" if variant.judged else "x"
        colour, _ = look(variant)
        right.plot(
            [variant.error] * len(ratios[name]), ratios[name], mark, color=colour, ms=4
        )
        right.annotate(
            name,
            (variant.error, places[name]),
            (5, -2),
            fontsize=6,
            textcoords="offset points",
        )
    right.axhline(1e5, color="0.5", linestyle="--", linewidth=0.8)
    right.axhline(1e4, color="0.5", linestyle=":", linewidth=0.8)
    right.set_yscale("log")
    right.set_xlim(5.5, 25)
    right.set_xticks([6, 8, 10, 12, 14, FAILED], ["6", "8", "10", "12", "14", "fail"])
    right.set_xlabel("published error of ResNet-110, %")
    right.set_ylabel("gradient at the first / at the last block, every seed")
    return figure


MARKERS = "os^Dvp*XP<"


def look(variant: Initialisation) -> tuple[str, str]:
    """Colour and line: at least 12 %, below 9 %, and what the rule leaves out."""
    if variant.error is None or not variant.judged or 9 <= variant.error < 12:
        return "0.45", ":"
    number = 1 if variant.error >= 12 else 0
    return str(style(number)["color"]), "--" if number else "-"


def label_places(ratios: dict[str, np.ndarray]) -> dict[str, float]:
    """Heights of the labels: at the mean of a variant, apart from its neighbours."""
    places: dict[str, float] = {}
    for name in sorted(ratios, key=lambda name: geometric(ratios[name])):
        height = float(np.log10(geometric(ratios[name])))
        error = VARIANTS[name].error or 0.0
        for other, there in places.items():
            if abs((VARIANTS[other].error or 0.0) - error) < 4:
                height = max(height, np.log10(there) + 0.22)
        places[name] = 10**height
    return places


def main() -> None:
    args = parse_arguments(__doc__, Path(__file__).parent)
    blocks, seeds = (6, 1) if args.quick else (BLOCKS, SEEDS)
    configs = {name: one_stage(blocks, **v.keys) for name, v in VARIANTS.items()}
    results = over_variants(configs, lambda config: profiles(config, range(seeds)))
    profile = profile_table(results)
    write(args.out, table(results), draw(profile))
    profile.to_csv(args.out / "profiles.csv", index=False, float_format="%.4g")


if __name__ == "__main__":
    main()
