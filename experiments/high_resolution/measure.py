"""U5: the gradient of each path as the same scene is seen at 64 x 64 to 1024 x 1024.

python -m experiments.high_resolution.measure [--quick] [--out DIR]

A U-Net on a ResNet-18 of width 16, at initialisation, batch 2, the training loss. The
scenes are drawn at the largest size and made smaller, labels by the nearest pixel, so
that only the number of pixels changes. By side and path: the l2 norm of the cotangent,
its site norm (rms times the pixels of the loss), what float16 would lose of it and the
factor on the loss that would save it. Then each remedy of the order of attack: the same
again, up to 512 x 512. 22 minutes on 2 busy CPU cores; --quick: sides 64 and 128, one
seed, two networks.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import jax
import numpy as np
import pandas as pd

from experiments.common import geometric, over_variants, parse_arguments, write
from resseg.blueprint.blueprint import Blueprint
from resseg.config import base
from resseg.config.load import load_config
from resseg.data import VOID, DatasetSpec, pipeline, sources
from resseg.figures import new_figure, style
from resseg.gradients.analysis.cotangents import (
    exponent_counts,
    with_offsets,
    zero_offsets,
)
from resseg.probes.subject import Subject
from resseg.probes.underflow import census
from resseg.training import recipe

SIDES, SEEDS, BATCH = (64, 128, 256, 512, 1024), 3, 2
VARIANTS: dict[str, dict[str, Any]] = {
    "baseline": {},
    "pre-activation": {"model.backbone.variant": "v2"},
    "zero gamma": {"model.branch.init": "zero_gamma"},
    "branch L^-1/2": {"model.branch.scale": '{"power": -0.5}'},
    "kappa 1/sqrt 2": {"model.long_skip.scale": 0.7071},
    "aux 0.4": {"model.aux.weight": 0.4},
    "no long skips": {"model.long_skip.kind": "none"},
}
PARTS = {  # of a network: what a path is one of
    "shortcut": lambda fork, path: path == "shortcut",
    "branch": lambda fork, path: path == "branch",
    "long skip": lambda fork, path: path == "skip",
    "past the long skip": lambda fork, path: (
        fork.kind == "long_skip" and path == "deeper"
    ),
}


def config(side: int, keys: Mapping[str, Any]) -> Any:
    """The network for images of a side, and the scenes."""
    values = {
        "data.crop": (side, side),
        "data.scale": (1.0, 1.0),
        "data.flip": 0.0,
        "data.color": 0.0,
        "data.batch_size": BATCH,
        "data.shapes.train_images": BATCH,
        "data.shapes.val_images": BATCH,
        "data.shapes.size": (side, side),
        "model.backbone.depth": 18,
        "model.backbone.width": 16,
        "model.head.name": "unet",
    }
    return load_config(Path(base.__file__), values | dict(keys))


def scenes(largest: int, seed: int) -> dict[str, np.ndarray]:
    """A batch of images and labels at the largest side."""
    data = config(largest, {"data.shapes.seed": seed}).data
    loader = pipeline.TrainLoader(data, seed)
    batch = next(loader)
    loader.close()
    return {"image": batch["image"], "label": batch["label"]}


def smaller(batch: Mapping[str, np.ndarray], side: int) -> dict[str, np.ndarray]:
    """The same scenes with fewer pixels."""

    def resized(images, how):
        return np.stack(
            [cv2.resize(x, (side, side), interpolation=how) for x in images]
        )

    label = resized(batch["label"].astype(np.int16), cv2.INTER_NEAREST_EXACT)
    return {
        "image": resized(batch["image"], cv2.INTER_AREA),
        "label": label.astype(batch["label"].dtype),
    }


def measured(
    keys: Mapping[str, Any], spec: DatasetSpec, batches: Sequence[dict]
) -> list[dict[str, Any]]:
    """A row per path of every fork: its norms and what float16 loses, by batch."""
    side = batches[0]["label"].shape[1]
    asked = config(side, keys)
    blueprint = Blueprint.of(asked, spec.num_classes)
    forks = blueprint.forks(BATCH)
    offsets = zero_offsets(forks)

    @jax.jit
    def of_batch(variables, batch, offsets):
        subject = Subject(
            name="",
            config=asked,
            spec=spec,
            blueprint=blueprint,
            variables=variables,
            loss=recipe.build_loss(asked, spec.num_classes),
            step=0,
        )

        def loss(offsets):
            return with_offsets(
                subject.total_loss, offsets, variables, batch, train=True
            )

        def of_path(g):
            return (g * g).sum(), exponent_counts(g)

        found = jax.grad(loss)(offsets)
        return {name: [of_path(g) for g in paths] for name, paths in found.items()}

    rows = []
    for seed, batch in enumerate(batches):
        drawn = blueprint.draw(jax.random.key(seed))
        variables = {**drawn, "paths": blueprint.paths(asked)}
        found = jax.device_get(of_batch(variables, batch, offsets))
        for fork in forks:
            for path, (square, counts) in zip(
                fork.paths, found[fork.name], strict=True
            ):
                part = next((n for n, holds in PARTS.items() if holds(fork, path)), "")
                lost = census(np.asarray(counts, np.int64))
                l2 = float(np.sqrt(square))
                pixels = int((batch["label"] != VOID).sum())
                rows.append(
                    {
                        "side": side,
                        "seed": seed,
                        "fork": fork.name,
                        "path": path,
                        "part": part,
                        "l2": l2,
                        "site": l2 / np.sqrt(np.prod(fork.shape)) * pixels,
                        "below_fp16": lost["below_fp16"],
                        "scale_log2": lost["scale_log2"],
                    }
                )
    return rows


def summary(rows: pd.DataFrame) -> pd.DataFrame:
    """By network, side and part: means over paths and seeds, geometric of norms."""
    named = rows[(rows["part"] != "") & (rows["l2"] > 0)]
    records = []
    for (variant, side, part), group in named.groupby(
        ["variant", "side", "part"], sort=False
    ):
        each = group.groupby("seed")["site"].apply(lambda x: geometric(x.to_numpy()))
        records.append(
            {
                "variant": variant,
                "side": side,
                "part": part,
                "l2": geometric(group["l2"].to_numpy()),
                "site": geometric(group["site"].to_numpy()),
                "smallest": each.min(),
                "largest": each.max(),
                "below_fp16": group["below_fp16"].mean(),
                "scale_log2": group["scale_log2"].max(),
            }
        )
    return pd.DataFrame(records)


def exponent(table: pd.DataFrame, variant: str, part: str, column: str) -> float:
    """p of column ~ side^p, least squares."""
    chosen = table[(table["variant"] == variant) & (table["part"] == part)]
    logs = np.log(chosen["side"].to_numpy(float)), np.log(chosen[column].to_numpy())
    return float(np.polyfit(*logs, 1)[0])


def draw(table: pd.DataFrame):
    """Site norm and share lost of the baseline over the side; remedies at the ends."""
    figure = new_figure(11, 3.6)
    left, middle, right = figure.subplots(1, 3)
    baseline = table[table["variant"] == "baseline"]
    for number, part in enumerate(PARTS):
        rows = baseline[baseline["part"] == part]
        left.plot(rows["side"], rows["l2"], linestyle=":", color=style(number)["color"])
        left.plot(rows["side"], rows["site"], label=part, **style(number))
        middle.plot(rows["side"], rows["below_fp16"], label=part, **style(number))
    left.set_title("dotted: l2; lines: site norm", fontsize=9)
    left.set_yscale("log")
    middle.set_title("share of the gradient below float16", fontsize=9)
    for number, variant in enumerate(dict.fromkeys(table["variant"])):
        rows = table[(table["variant"] == variant) & (table["part"] == "shortcut")]
        right.plot(rows["side"], rows["site"], label=variant, **style(number))
    right.set_yscale("log")
    right.set_title("site norm of the shortcuts, by remedy", fontsize=9)
    for axes in (left, middle, right):
        axes.set_xscale("log", base=2)
        axes.set_xlabel("side of the image, pixels")
        axes.legend(fontsize=7)
    return figure


def main() -> None:
    args = parse_arguments(__doc__, Path(__file__).parent)
    sides, seeds = (SIDES[:2], 1) if args.quick else (SIDES, SEEDS)
    variants = dict(list(VARIANTS.items())[:2]) if args.quick else VARIANTS
    drawn = [scenes(sides[-1], seed) for seed in range(seeds)]
    spec = sources.dataset_spec(config(sides[-1], {}).data)
    cases = {
        f"{variant}, {side}": (variant, side)
        for variant in variants
        for side in sides
        if side < SIDES[-1] or variant == "baseline"
    }

    def measure(case):
        variant, side = case
        rows = measured(
            VARIANTS[variant], spec, [smaller(batch, side) for batch in drawn]
        )
        return [{"variant": variant, **row} for row in rows]

    found = over_variants(cases, measure)
    table = summary(pd.DataFrame([row for rows in found.values() for row in rows]))
    write(args.out, table, draw(table))
    for column in ("l2", "site"):
        powers = [f"{p} {exponent(table, 'baseline', p, column):+.2f}" for p in PARTS]
        print(f"{column} ~ side^p: {', '.join(powers)}")


if __name__ == "__main__":
    main()
