"""Combinations that no block can have, and what a layout says by itself."""

import math
from typing import Any

from resseg.architecture import INVERTED, PRUNABLE, spell_out
from resseg.config.fields import normalise
from resseg.config.keys import refuse, value_of
from resseg.config.rows import KEYS


def _layout(config: Any) -> None:
    """What a layout says is said by it alone."""
    layout = config.model.backbone.layout
    said = ("depth", "variant", "stage_sizes", "block", "width", "stem")
    keys = [f"backbone.{name}" for name in (*said, "stage_strides", "expansion")]
    # Its blocks differ within a stage.
    keys += ["shortcut.streams", "shortcut.first"]
    for key in [f"model.{key}" for key in keys]:
        default = KEYS[key].value.default
        if layout and normalise(key, value_of(config, key)) != default:
            refuse(config, key, f"layout {layout!r} has its own, set {default!r}")


def _kind_of_block(config: Any) -> None:
    plan = spell_out(config.model)
    # Keys that some kinds of blocks alone have a part for: with what else they have.
    owned = {
        "groups": (1, ("bottleneck",)),
        "group_width": (64, ("bottleneck",)),
        "stride_on": ("", ("bottleneck",)),
        "expansion": (6, INVERTED),
    }
    for key, (value, kinds) in owned.items():
        if plan.block not in kinds and config.model.backbone[key] != value:
            listed = " or ".join(map(repr, kinds))
            refuse(
                config,
                f"model.backbone.{key}",
                f"{plan.block} blocks have no such part, set {value!r} or block "
                f"{listed}",
            )
    if plan.block == "mbconv" and config.model.backbone.se_reduction:
        refuse(
            config,
            "model.backbone.se_reduction",
            "mbconv blocks squeeze and excite inside already, set 0",
        )
    share = config.model.backbone.width_factor
    if plan.block == "bottleneck":
        share *= config.model.backbone.group_width / 64
    if plan.width * share < 1:
        refuse(
            config,
            "model.backbone.width",
            "width_factor and group_width leave the blocks no channel, "
            f"expected at least {math.ceil(1 / share)}",
        )
    if plan.stem in ("deep", "mobile") and plan.width % 2:
        wanted = f"the {plan.stem} stem halves it, expected even"
        refuse(config, "model.backbone.width", wanted)
    grid, last = config.model.backbone.multi_grid, plan.stage_sizes[-1]
    if len(grid) not in (0, last):
        refuse(
            config,
            "model.backbone.multi_grid",
            f"expected {last} numbers, one per block of the last stage, "
            f"got {len(grid)}",
        )


def _inner(config: Any) -> None:
    """Channels that no shortcut ties; of every block a number."""
    inner, key = config.model.backbone.inner, "model.backbone.inner"
    if not inner:
        return
    plan, model = spell_out(config.model), config.model
    if len(inner) != sum(plan.stage_sizes):
        wanted = f"expected {sum(plan.stage_sizes)} numbers, one per block"
        refuse(config, key, f"{wanted}, got {len(inner)}")
    prunable = plan.block in PRUNABLE and model.backbone.groups == 1
    prunable &= plan.block not in INVERTED or model.backbone.expansion > 1
    if not prunable or (plan.block == "basic" and model.shortcut.span == 1):
        listed = ", ".join(PRUNABLE)
        wanted = (
            f"is for blocks {listed} of one group, with channels of their own inside"
        )
        refuse(config, key, wanted)


RULES = (
    _layout,
    _kind_of_block,
    _inner,
)
