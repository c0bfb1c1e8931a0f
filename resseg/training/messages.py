"""What a training says of itself: its first line, and its last."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax

from resseg import sharding
from resseg.architecture import spell_out
from resseg.console import duration
from resseg.data import DatasetSpec
from resseg.gradients.fork import ForkInfo
from resseg.gradients.measure import changes_no_bit
from resseg.inference.score_lines import score_lines
from resseg.runs import Holder, layout
from resseg.runs.dropped import read_dropped
from resseg.runs.ledger import read_ledger
from resseg.runs.unread import read_unread
from resseg.training.steps import TrainState


def headline(
    config: Any,
    spec: DatasetSpec,
    state: TrainState,
    forks: Sequence[ForkInfo],
    mesh: jax.sharding.Mesh,
) -> str:
    """Data, network, size and devices of a run in one line.

    With a word about the bits where measuring may move the last ones.
    """
    device = mesh.devices.flat[0]
    measured = f"{len(forks)} forks"
    if config.log.gradients.every and not changes_no_bit(device.platform):
        measured += f" (measuring them may move last bits with JAX {jax.__version__})"
    size = sum(leaf.size for leaf in jax.tree.leaves(state.params))
    model, plan = config.model, spell_out(config.model)
    name = f"ResNet-{model.backbone.depth} {model.backbone.variant}"
    if model.backbone.layout:
        name = model.backbone.layout
    elif model.backbone.stage_sizes:
        name = f"{plan.block} blocks {plan.stage_sizes}"
    return (
        f"{spec.name} ({spec.num_classes} classes), {model.head.name} on "
        f"{name} of width {plan.width}, {size:,} parameters, {measured}, "
        f"{sharding.words(mesh)}"
    )


def killed_line(holder: Holder) -> str:
    """Who was killed while it trained in a folder that is ours now."""
    return f"the last to train here was killed: {holder}"


def score_line(step: int, name: str, scores: Mapping[str, Any]) -> str:
    """The score of an evaluation, or that there is none."""
    score = scores["mean_iou"]
    if math.isnan(score):
        return (
            f"step {step}  {name} has no score: no pixel of its evaluation split is "
            "labelled; no weights are kept as the best"
        )
    return f"step {step}  {name} mIoU {score:.4f}"


def closing_lines(folder: Path, spec: DatasetSpec, scores: dict[str, Any]) -> list[str]:
    """Scores, and where the results lie."""
    lines = [*score_lines(scores, spec.classes), f"run folder     {folder}"]
    if ledger := read_ledger(folder):
        lines.append(f"time           {duration(ledger.wall)}: {ledger.largest()}")
    dropped = read_dropped(folder)
    if dropped:
        lines.append(
            f"dropped        {len(dropped)} batches: {folder / layout.DROPPED}"
        )
    if unread := read_unread(folder):
        lines.append(
            f"replaced       {len(unread)} images that cannot be read: "
            f"{folder / layout.UNREAD}"
        )
    pictures = sorted((folder / layout.PREDICTIONS).glob("*.png"))
    if pictures:
        lines.append(f"predictions    {pictures[0]} and {len(pictures) - 1} more")
    return lines
