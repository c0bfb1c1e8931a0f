"""A trained network with fewer channels inside its blocks."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from flax.traverse_util import flatten_dict, unflatten_dict
from ml_collections import ConfigDict

from resseg.architecture import PRUNABLE, spell_out
from resseg.errors import UserError
from resseg.gradients.names import BACKBONE, BRANCH
from resseg.inference.trained import Trained
from resseg.pruning import channels

BY = ("norm", "gradient")
_LEARNED = ("params", "batch_stats")


@dataclasses.dataclass(frozen=True)
class Pruned:
    """What is left.

    Attributes:
        config: of the smaller network.
        variables: its params and batch_stats.
        before, after: channels inside each block, in depth order.
        blocks: their names.
    """

    config: Any
    variables: dict[str, Any]
    before: tuple[int, ...]
    after: tuple[int, ...]
    blocks: tuple[str, ...]


def prune(
    trained: Trained, keep: float, shares: Mapping[str, float] | None = None
) -> Pruned:
    """Leaves `keep` of all channels inside the blocks of the backbone.

    Each block keeps that share of its own, or as many as its part in `shares` says; of
    each branch those stay that weigh most, see `channels.weights`.

    Args:
        trained: the network.
        keep: above 0, up to 1. A block keeps a channel at least.
        shares: weight of each block, by name; None = all keep alike.

    Raises:
        UserError: its blocks have no channels of their own inside.
    """
    model = trained.config.model
    kind = spell_out(model).block
    one = model.backbone.groups == 1
    alone = kind in ("inverted", "mbconv") and model.backbone.expansion == 1
    if model.backbone.layout or kind not in PRUNABLE or not one or alone:
        what = model.backbone.layout or f"{kind} blocks"
        raise UserError(
            f"{what}: expected {', '.join(PRUNABLE)} blocks of one group, with "
            "channels of their own inside"
        )
    # No parameter is called as a statistic is, so both are one tree here.
    trees: Any = {name: flatten_dict(trained.variables[name]) for name in _LEARNED}
    flat = {path: leaf for tree in trees.values() for path, leaf in tree.items()}
    names = backbone_blocks(model)
    order = spell_out(model).order
    found = [channels.insides(flat, tuple(n.split("/")), kind, order) for n in names]
    if not all(found):
        raise UserError("blocks of one convolution have no channels inside")
    before = tuple(int(np.shape(flat[each[0].writes])[-1]) for each in found)
    after = counts(before, keep, [shares[n] for n in names] if shares else None)
    for each, count in zip(found, after, strict=True):
        for inside in each:
            flat |= channels.without(flat, inside, count)
    variables = {
        name: unflatten_dict({path: flat[path] for path in tree})
        for name, tree in trees.items()
    }
    config: Any = ConfigDict(trained.config).copy_and_resolve_references()
    with config.unlocked():
        config.model.backbone.inner = tuple(after)
    return Pruned(config, variables, before, tuple(after), names)


def backbone_blocks(model: Any) -> tuple[str, ...]:
    """Forks of the blocks of the backbone, in depth order."""
    plan = spell_out(model)
    return tuple(
        f"{BACKBONE}/{stage}/block{i + 1}"
        for stage, size in zip(plan.stages, plan.stage_sizes, strict=True)
        for i in range(size)
    )


def counts(
    before: Sequence[int], keep: float, shares: Sequence[float] | None
) -> list[int]:
    """Channels that each block keeps, `keep` of all of them together, rounded.

    With `shares` a block keeps in proportion to its own; what does not fit into one
    goes to the others.
    """
    widths = np.asarray(before, float)
    total = keep * widths.sum()
    wanted = keep * widths
    if shares is not None:
        weight = widths * np.maximum(np.asarray(shares, float), 1e-9)
        wanted, full = np.zeros_like(widths), np.zeros(len(widths), bool)
        while not full.all():
            left = total - widths[full].sum()
            wanted = np.where(full, widths, left * weight / weight[~full].sum())
            over = ~full & (wanted >= widths)
            if not over.any():
                break
            full |= over
    kept = np.clip(np.rint(np.minimum(wanted, widths)), 1, widths)
    return [int(count) for count in kept]


def branch_shares(gradients: pd.DataFrame) -> dict[str, float]:
    """How much of the gradient of each block goes through its branch, at the end.

    The mean over the last quarter of the logged steps, by name of the block.

    Raises:
        UserError: nothing was logged.
    """
    rows = gradients.query(f"kind == 'block' and path == '{BRANCH}'")
    if rows.empty:
        raise UserError("no gradients were logged, expected --by norm")
    recent = rows[rows["step"] >= np.quantile(rows["step"], 0.75)]
    means = recent.pivot_table(values="share", index="fork")["share"]
    return dict(zip(means.index, means, strict=True))
