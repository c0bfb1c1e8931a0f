"""The gradient noise scale of every block: how many images make a batch (M13, M11).

McCandlish 2018 (equation 2.9): B = tr(Sigma) / |G|^2 with the covariance Sigma of the
gradient of one image. Far below B a larger batch saves as many steps as it costs
images; far above it buys nothing.
"""

import re

import jax
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from resseg.console import counting
from resseg.errors import UserError
from resseg.gradient_log.summary import column, where
from resseg.gradients.analysis.noise import (
    WHOLE,
    Noise,
    no_moments,
    noise_by_block,
    noise_scale,
    with_sample,
)
from resseg.probes.calibration import settled
from resseg.probes.probe import Options, Probe, Rows, rows_from
from resseg.probes.subject import Subject
from resseg.runs.tables import Column

ALL = "(all)"

COLUMNS = (
    Column("block", "str", "", "module path; (all) for all parameters at once"),
    Column("images", "int64", "images", "gradients that entered, one per image"),
    Column(
        "signal", "float64", "(loss / weight)^2", "estimate of |G|^2; < 0 if it drowns"
    ),
    Column(
        "trace", "float64", "(loss / weight)^2", "estimate of tr(Sigma), one image's"
    ),
    Column("noise_scale", "float64", "images", "trace / signal; inf if it drowns"),
    Column("spread", "float64", "images", "standard error of it over batches, or NaN"),
    Column("cosine", "float64", "1", "of two images' gradients, mean over pairs"),
)


def measure(subject: Subject, options: Options) -> Rows:
    """One gradient per image of `options.batches` training batches.

    The loss of an image is its own mean over pixels. Norms use fixed statistics and
    dropout is off, so that the images are independent.

    Raises:
        UserError: batches of one image have no spread.
    """
    size = subject.config.data.batch_size
    if size < 2:
        raise UserError(
            f"config.data.batch_size={size}: the noise scale compares the images of a "
            "batch, expected 2 or more"
        )
    batches = list(subject.batches(options.batches))
    variables = settled(subject, batches)

    @jax.jit
    def with_image(moments, variables, image):
        def loss(params):
            return subject.total_loss(
                variables | {"params": params}, image, train=False
            )

        return with_sample(moments, jax.grad(loss)(variables["params"]))

    by_block: dict[str, list[Noise]] = {}
    with counting("noise scale", len(batches) * size) as done:
        for batch in batches:
            moments = no_moments(variables["params"])
            for i in range(size):
                image = {name: batch[name][i : i + 1] for name in ("image", "label")}
                moments = with_image(moments, variables, image)
                done(1)
            for block, noise in noise_by_block(moments).items():
                by_block.setdefault(block, []).append(noise)
    records = [
        _record(block, by_block[block], len(batches) * size)
        for block in sorted(by_block, key=_depth)
    ]
    return rows_from(records, COLUMNS)


def _record(block: str, noises: list[Noise], images: int) -> dict:
    scale, spread = noise_scale(noises)
    return {
        "block": block or ALL,
        "images": images,
        "signal": np.mean([noise.signal for noise in noises]),
        "trace": np.mean([noise.trace for noise in noises]),
        "noise_scale": scale,
        "spread": spread,
        "cosine": np.mean([noise.cosine for noise in noises]),
    }


def _depth(block: str) -> tuple:
    """Order of the signal: all, stem, stages, what else the backbone has, heads."""
    stages = ["", "backbone/stem", "backbone/stage", "backbone", "head"]
    place = next((i for i, s in enumerate(stages) if s and block.startswith(s)), 5)
    numbers = [int(digits) for digits in re.findall(r"\d+", block)]
    last = block.endswith("/classifier")
    return (0 if block == WHOLE else place, last, numbers, block)


def draw(table: pd.DataFrame, figure: Figure) -> None:
    """Noise scale with its error, and the mean cosine, per block."""
    top, bottom = figure.subplots(2, 1, sharex=True)
    whole = column(table, "block") == ALL
    rows = where(table, ~whole)
    place = np.arange(len(rows))
    scale, spread = column(rows, "noise_scale"), column(rows, "spread")
    scale = np.where(np.isfinite(scale), scale, np.nan)
    spread = np.where(np.isfinite(spread), spread, 0)
    # On a logarithmic axis an error bar must not reach 0.
    lower = np.minimum(spread, 0.9 * scale)
    top.errorbar(place, scale, (lower, spread), fmt="o", capsize=3, label="block")
    overall = column(table, "noise_scale")[whole][0]
    if np.isfinite(overall):
        top.axhline(overall, color="black", linestyle="--", label="all parameters")
    top.set_yscale("log")
    top.set_ylabel("noise scale [images]")
    top.legend()
    bottom.plot(place, rows["cosine"], "s", label="block")
    bottom.axhline(column(table, "cosine")[whole][0], color="black", linestyle="--")
    bottom.axhline(0, color="0.7", linewidth=0.8)
    bottom.set_ylabel("mean cosine\nof two images")
    bottom.set_xticks(place, rows["block"], rotation=45, ha="right", fontsize="x-small")


def conclude(table: pd.DataFrame) -> list[str]:
    """The scale over all parameters."""
    row = where(table, column(table, "block") == ALL)
    scale, error = column(row, "noise_scale")[0], column(row, "spread")[0]
    images = column(row, "images")[0]
    if not np.isfinite(scale):
        return [
            f"the gradient drowns in noise: {images} images do not show it; ask for "
            "more --batches"
        ]
    known = f", standard error {error:.2g}" if np.isfinite(error) else ""
    return [f"noise scale of all parameters: {scale:.3g} images{known}"]


PROBE = Probe(
    "gradient noise scale per block (M13, M11)",
    COLUMNS,
    ("block", "images", "noise_scale", "spread", "cosine"),
    measure,
    draw,
    conclude,
)
