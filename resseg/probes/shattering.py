"""Shattered gradients: their correlation between inputs (M10).

Balduzzi 2017: as a network without shortcuts grows deeper, its gradient as a function
of the input turns from smooth to white noise; the correlation halves with every layer,
and with shortcuts falls far more slowly.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from resseg.console import counting
from resseg.errors import UserError
from resseg.gradient_log.summary import column, where
from resseg.gradients.analysis.correlation import (
    autocorrelation,
    circle,
    line,
    overlap,
    random_pairs,
)
from resseg.probes.calibration import settled
from resseg.probes.probe import Options, Probe, Rows, rows_from
from resseg.probes.subject import Subject
from resseg.runs.tables import Column

POINTS = 32  # of each walk
INDEPENDENT = "independent"

COLUMNS = (
    Column("walk", "str", "", "line, circle, or independent: pairs of other images"),
    Column("lag", "float64", "1", "distance on the line or the circle over its length"),
    Column("distance", "float64", "input", "rms over entries of the inputs' distance"),
    Column("correlation", "float64", "1", "mean <g(x), g(x')> over mean |g|^2"),
    Column("spread", "float64", "1", "standard deviation over pairs of images, or NaN"),
    Column("pairs", "int64", "pairs", "of images that were averaged"),
)


def measure(subject: Subject, options: Options) -> Rows:
    """Along lines and circles through `options.samples` pairs of training images.

    g(x) = J(x)^T v is the gradient at the image x of the logits' product with a fixed
    Gaussian v, the same everywhere: only what the network does with x changes. Norms
    use fixed statistics. All pairs of the images of `options.batches` batches enter
    the correlation of independent inputs.

    Raises:
        UserError: a single image makes no pair.
    """
    batches = list(subject.batches(options.batches))
    images = np.concatenate([batch["image"] for batch in batches])
    if len(images) < 2:
        raise UserError(
            "--batches=1 with config.data.batch_size=1: the correlation is between "
            "images, expected 2 or more"
        )
    variables = settled(subject, batches)
    key = jax.random.key(options.seed)
    direction = jax.random.normal(
        key, (1, *subject.image_shape[1:3], subject.spec.num_classes)
    )

    @jax.jit
    def gradient(images):
        def product(images):
            outputs: Any = subject.model.apply(variables, images, train=False)
            return jnp.sum(outputs["logits"] * direction)

        return jax.grad(product)(images)

    def gradients(points: np.ndarray) -> np.ndarray:
        """`[points, features]`, computed in batches of one size."""
        size = subject.config.data.batch_size
        parts = []
        for start in range(0, len(points), size):
            part = points[start : start + size]
            padded = np.resize(part, (size, *part.shape[1:]))
            parts.append(np.asarray(gradient(padded))[: len(part)])
        return np.concatenate(parts).reshape(len(points), -1)

    pairs = random_pairs(len(images), options.samples, options.seed)
    walks: dict[str, list] = {"line": [], "circle": []}
    with counting("walks", 2 * len(pairs)) as done:
        for first, second in pairs:
            for walk, course in (("line", line), ("circle", circle)):
                points = course(images[first], images[second], POINTS)
                correlations = autocorrelation(
                    gradients(points), periodic=walk == "circle"
                )
                walks[walk].append((correlations, _distances(points)))
                done(1)
    records = []
    for walk, measured in walks.items():
        steps = POINTS if walk == "circle" else POINTS - 1
        curves = np.array([curve for curve, _ in measured])
        distances = np.mean([distance for _, distance in measured], axis=0)
        spread = (
            curves.std(axis=0, ddof=1)
            if len(pairs) > 1
            else np.full_like(distances, np.nan)
        )
        records += [
            {
                "walk": walk,
                "lag": lag / steps,
                "distance": distances[lag],
                "correlation": curves[:, lag].mean(),
                "spread": spread[lag],
                "pairs": len(pairs),
            }
            for lag in range(curves.shape[1])
        ]
    return rows_from([*records, _independent(images, gradients(images))], COLUMNS)


def _distances(points: np.ndarray) -> np.ndarray:
    """Rms distance between the first point and that at each lag."""
    apart = points[: POINTS // 2 + 1] - points[:1]
    return np.sqrt(np.mean(np.square(apart), axis=tuple(range(1, points.ndim))))


def _independent(images: np.ndarray, gradients: np.ndarray) -> dict:
    cross, square = overlap(gradients)
    apart, size = overlap(images.reshape(len(images), -1))
    count = len(images)
    return {
        "walk": INDEPENDENT,
        "lag": np.nan,
        "distance": np.sqrt(2 * (size - apart) / images[0].size),
        "correlation": cross / square if square > 0 else np.nan,
        "spread": np.nan,
        "pairs": count * (count - 1) // 2,
    }


def quarters(table: pd.DataFrame) -> pd.DataFrame:
    """Every fourth lag, and the independent images."""
    lag = np.arange(len(table)) % (POINTS // 2 + 1)
    return where(table, lag % 4 == 0)


def draw(table: pd.DataFrame, figure: Figure) -> None:
    """Correlation over lag and over distance."""
    left, right = figure.subplots(1, 2, sharey=True)
    styles = {"line": ("-", "o"), "circle": ("--", "s")}
    independent = table[table["walk"] == INDEPENDENT].iloc[0]
    for walk, (style, marker) in styles.items():
        rows = where(table, column(table, "walk") == walk)
        mean, spread = column(rows, "correlation"), column(rows, "spread")
        for axes, name in ((left, "lag"), (right, "distance")):
            axes.plot(rows[name], mean, style, marker=marker, label=walk)
            axes.fill_between(rows[name], mean - spread, mean + spread, alpha=0.15)
    for axes in (left, right):
        axes.axhline(independent["correlation"], color="black", linestyle=":")
        axes.axhline(0, color="0.7", linewidth=0.8)
    right.plot(
        independent["distance"],
        independent["correlation"],
        "D",
        color="black",
        label="other images",
    )
    left.set_xlabel("lag / length of the walk")
    right.set_xlabel("distance of the inputs, rms")
    left.set_ylabel("correlation of the gradients")
    right.legend()


def conclude(table: pd.DataFrame) -> list[str]:
    """The scalar: how much of the gradient two images have in common."""
    row = table[table["walk"] == INDEPENDENT].iloc[0]
    return [
        f"gradients of two images correlate by {row['correlation']:.3g} "
        f"({row['pairs']} pairs)"
    ]


PROBE = Probe(
    "correlation of input gradients between images (M10)",
    COLUMNS,
    ("walk", "lag", "distance", "correlation", "spread", "pairs"),
    measure,
    draw,
    conclude,
    short=quarters,
)
