"""What the studies at initialisation share."""

import argparse
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from resseg.blueprint.blueprint import Blueprint
from resseg.config import base
from resseg.config.load import load_config
from resseg.data import pipeline
from resseg.figures import save
from resseg.gradients.measure import by_taps
from resseg.training import recipe

CLASSES = 7  # of the procedural data set


def one_stage(blocks: int, **overrides: Any) -> Any:
    """The network of the catalogue's pilots: equal blocks at one resolution.

    Two 3x3 convolutions of 8 channels per block, 16 x 16 crops of procedural images,
    batch 16, a small convolutional head. Overrides by key, `__` for a dot.
    """
    values = {
        "data.crop": (16, 16),
        "data.batch_size": 16,
        "model.backbone.depth": 20,
        "model.backbone.stage_sizes": (blocks,),
        "model.backbone.stage_strides": (1,),
        "model.backbone.width": 8,
        "model.backbone.output_stride": 1,
        "model.head.name": "fcn",
    }
    values |= {key.replace("__", "."): value for key, value in overrides.items()}
    return load_config(Path(base.__file__), values)


def profiles(config: Any, seeds: Sequence[int], loss_scale: float = 1.0) -> np.ndarray:
    """Norm of the whole gradient at every block, first to last, `[seeds, blocks]`.

    In the backward pass of the training loss at initialisation, norms on the statistics
    of the batch; a seed draws weights and images. The norms are those of `loss_scale`
    times the loss: the squares of very small ones are none in float32.
    """
    blueprint = Blueprint.of(config, CLASSES)
    model, taps, paths = blueprint.model, blueprint.zero_taps(), blueprint.paths(config)
    loss = recipe.build_loss(config, CLASSES)
    forks = blueprint.forks(config.data.batch_size)
    blocks = [fork.name for fork in forks if fork.kind == "block"]

    @jax.jit
    def measured(key, paths, batch):
        def total(params, measuring):
            outputs, _ = model.apply(
                {**variables, "params": params, **measuring},
                batch["image"],
                train=True,
                rngs={"dropout": key},
                mutable=["batch_stats"],
            )
            return loss_scale * loss(outputs["logits"], batch["label"])[0], None

        _, variables = model.apply(
            {"paths": paths},
            batch["image"],
            rngs={"params": key},
            mutable=["params", "batch_stats"],
        )
        variables = {**variables, "paths": paths}
        _, _, forks = by_taps(total, variables["params"], taps)
        return forks

    rows = []
    for seed in seeds:
        loader = pipeline.TrainLoader(config.data, seed)
        batch = next(loader)
        loader.close()
        batch = {name: batch[name] for name in ("image", "label")}
        by_fork = jax.device_get(measured(jax.random.key(seed), paths, batch))
        squares = np.array([by_fork[name].total_square for name in blocks], float)
        rows.append(np.sqrt(squares))
    return np.stack(rows)


def parse_arguments(words: str | None, folder: Path) -> argparse.Namespace:
    """`--quick`, which measures less, and `--out`, the folder of the results.

    Args:
        words: what the study is, for --help.
        folder: of the study.
    """
    parser = argparse.ArgumentParser(
        description=words, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--out", type=Path, default=folder)
    return parser.parse_args()


def over_variants(
    variants: Mapping[str, Any], measure: Callable[[Any], Any]
) -> dict[str, Any]:
    """`measure` of each, saying how far it is and how long the rest will take."""
    results, began = {}, time.monotonic()
    for number, (name, variant) in enumerate(variants.items(), 1):
        results[name] = measure(variant)
        left = (time.monotonic() - began) / number * (len(variants) - number)
        print(f"[{number}/{len(variants)}] {name}, {left:.0f} s left", file=sys.stderr)
    return results


def write(folder: Path, table: pd.DataFrame, figure: Figure) -> None:
    """`results.csv` and `figure.png` in `folder`; the table is printed too."""
    folder.mkdir(parents=True, exist_ok=True)
    table.to_csv(folder / "results.csv", index=False, float_format="%.5g")
    save(figure, folder / "figure.png", dpi=120)
    print(table.to_string(index=False, float_format=lambda value: f"{value:.3g}"))
    print(f"device: {jax.devices()[0].device_kind}, JAX {jax.__version__}")


def geometric(values: np.ndarray, axis: int = 0) -> np.ndarray:
    """Geometric mean over an axis, in float64."""
    return np.exp(np.log(np.asarray(values, np.float64)).mean(axis))
