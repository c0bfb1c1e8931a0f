"""The numbers by which runs of a sweep are compared, each read from a run folder."""

import math
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from resseg import runs
from resseg.errors import choose
from resseg.gradient_log.summary import USED, last_steps
from resseg.gradient_log.timeline import timelines
from resseg.runs.reader import Run

ROWS = 5  # logged steps at the end over which losses and gradients are averaged


class Metric(NamedTuple):
    """What a run is judged by.

    Attributes:
        meaning: in a few words.
        lower: lower is better.
    """

    meaning: str
    lower: bool = False


EVALUATION = {
    "mean_iou": Metric("mean over classes of intersection over union"),
    "mean_dice": Metric("mean Dice score over classes"),
    "mean_boundary_iou": Metric("mean over classes of the IoU near outlines"),
    "mean_class_accuracy": Metric("mean over classes of the share found"),
    "pixel_accuracy": Metric("share of pixels that are right"),
}  # of the last evaluation
TRAIN_LOSS = "train_loss"
GRADIENTS = {
    "log10_first_over_last": Metric(
        "log10 of the gradient (site norm) at the first block over that at the last"
    ),
    "shortcut_share": Metric(
        "share of the squared gradient that comes back over shortcuts, mean over blocks"
    ),
}  # means over the last logged steps
METRICS = {
    **EVALUATION,
    TRAIN_LOSS: Metric(
        f"mean training loss of the last {ROWS} logged steps, one batch each",
        lower=True,
    ),
    **GRADIENTS,
}


def check_metric(where: str, name: object) -> str:
    """The name, if it is a metric.

    Raises:
        UserError: it is none; `where` begins the message.
    """
    choose(where, name, METRICS)
    return str(name)


def measure(folder: Path, names: Iterable[str]) -> dict[str, float]:
    """The metrics of a run that has been evaluated; NaN where it logs no such thing.

    A value that is not finite is returned as it is: a run that diverged must show.
    """
    names = list(names)
    rows = runs.read_metrics(folder)
    evaluation = [row for row in rows if row["split"] == "val"][-1:]
    losses = [row["loss"] for row in rows if row["split"] == "train"][-ROWS:]
    scores = dict(evaluation[0]) if evaluation else {}
    if losses:
        scores[TRAIN_LOSS] = float(np.mean(losses))
    if any(name in GRADIENTS for name in names):
        scores |= gradient_scores(folder)
    return {name: float(scores.get(name, math.nan)) for name in names}


def gradient_scores(folder: Path) -> dict[str, float]:
    """The metrics of the gradient log: means over its last `ROWS` steps.

    `log10_first_over_last` compares site norms of the sum of a block's paths; a share
    is taken over the blocks that have a shortcut. NaN where there is none, and where
    nothing is logged.
    """
    log = Run(folder).read_gradients(list(USED))
    if log.empty:
        return dict.fromkeys(GRADIENTS, math.nan)
    blocks = [b for b in timelines(last_steps(log, ROWS)) if b.kind == "block"]
    shares = [
        block.share[block.paths.index("shortcut")].mean()
        for block in blocks
        if "shortcut" in block.paths
    ]
    ratio = math.nan
    if blocks:
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = float(np.log10(blocks[0].total / blocks[-1].total).mean())
    share = float(np.mean(shares)) if shares else math.nan
    return {"log10_first_over_last": ratio, "shortcut_share": share}
