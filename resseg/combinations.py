"""Combinations that no network, loss or schedule can have, each refused by one rule.

The first half computes what a config implies for the network: its stages, its output
stride, its long skips. Each rule raises a UserError of one line, or returns.
"""

import math
from typing import Any, NoReturn

from resseg.backbone import decoder_blocks, spell_out
from resseg.errors import UserError, choose
from resseg.fields import PER_BLOCK, PER_LEVEL, PER_PYRAMID_BRANCH, flatten

PYRAMID_BRANCHES = 5  # 1x1, three dilated, image level
PYRAMID_HEADS = ("deeplabv3", "deeplabv3plus")
PYRAMID_STRIDES = (8, 16, 32)  # output strides with default dilations of the pyramid
UNETS = ("unet", "resunet")
DEEPLABV3PLUS_CONVS = (0, 2)  # of the paper
ADDING_HEADS = ("fcn16s", "fcn8s", *UNETS)  # can join their long skips by addition
LOSS_TERMS = ("cross_entropy", "dice", "focal")


def long_skip_levels(config: Any) -> int:
    """How many long skips the head has: encoder features that its decoder joins."""
    # A U-Net joins the stem and every stage but the deepest.
    unet = len(spell_out(config.model).stages)
    levels = {"fcn16s": 1, "fcn8s": 2, "deeplabv3plus": 1} | dict.fromkeys(UNETS, unet)
    return levels.get(config.model.head.name, 0)


def _value(config: Any, key: str) -> Any:
    return flatten(config)[key]


def _refuse(config: Any, key: str, reason: str) -> NoReturn:
    raise UserError(f"config.{key}={_value(config, key)!r}: {reason}")


def _data(config: Any) -> None:
    low, high = config.data.scale
    if low > high:
        _refuse(config, "data.scale", "expected the smaller factor first")
    for key in ("data.name", "data.dir", "data.split", "data.eval_split"):
        if not _value(config, key):
            _refuse(config, key, "expected a name")


def _stages(config: Any) -> None:
    plan = spell_out(config.model)
    if len(plan.stage_strides) != len(plan.stage_sizes):
        _refuse(
            config,
            "model.backbone.stage_strides",
            f"expected {len(plan.stage_sizes)} numbers, one per stage, "
            f"got {len(plan.stage_strides)}",
        )
    # The stride of the first stage stays: dilation replaces the last strides.
    dilatable = sum(stride == 2 for stride in plan.stage_strides[1:])
    possible = [plan.native_stride // 2**k for k in range(dilatable + 1)]
    if plan.output_stride not in possible:
        listed = ", ".join(map(str, possible))
        _refuse(
            config,
            "model.backbone.output_stride",
            f"stem {plan.stem!r} with stage_strides {plan.stage_strides!r} "
            f"can have {listed}",
        )


def _kind_of_block(config: Any) -> None:
    plan = spell_out(config.model)
    bottleneck_only = {"groups": 1, "group_width": 64, "stride_on": ""}
    for key, value in bottleneck_only.items():
        if plan.block == "basic" and config.model.backbone[key] != value:
            _refuse(
                config,
                f"model.backbone.{key}",
                f"basic blocks have no such part, set {value!r} or block 'bottleneck'",
            )
    share = config.model.backbone.width_factor
    if plan.block == "bottleneck":
        share *= config.model.backbone.group_width / 64
    if plan.width * share < 1:
        _refuse(
            config,
            "model.backbone.width",
            "width_factor and group_width leave the blocks no channel, "
            f"expected at least {math.ceil(1 / share)}",
        )
    if plan.stem == "deep" and plan.width % 2:
        _refuse(
            config, "model.backbone.width", "the deep stem halves it, expected even"
        )
    grid, last = config.model.backbone.multi_grid, plan.stage_sizes[-1]
    if len(grid) not in (0, last):
        _refuse(
            config,
            "model.backbone.multi_grid",
            f"expected {last} numbers, one per block of the last stage, "
            f"got {len(grid)}",
        )


def _stages_for_head(config: Any) -> None:
    stages = len(spell_out(config.model).stages)
    needed = {"fcn16s": 2, "fcn8s": 3, "deeplabv3plus": 2}
    head = config.model.head.name
    if head in needed and stages < needed[head]:
        _refuse(
            config,
            "model.head.name",
            f"needs {needed[head]} stages in the backbone, which has {stages}",
        )
    if config.model.aux.weight and stages < 2:
        _refuse(config, "model.aux.weight", "needs 2 stages in the backbone, it has 1")


def _undilated_unet(config: Any) -> None:
    plan = spell_out(config.model)
    if config.model.head.name in UNETS and plan.output_stride != plan.native_stride:
        _refuse(
            config,
            "model.backbone.output_stride",
            "the U-Net decodes every stride of its backbone, expected "
            f"{plan.native_stride} "
            "(a dilated backbone goes with an fcn or deeplab head)",
        )


def _crop(config: Any) -> None:
    stride = spell_out(config.model).output_stride
    if any(side % stride for side in config.data.crop):
        _refuse(
            config,
            "data.crop",
            f"height and width must be multiples of the output stride {stride}",
        )


def _head_fields(config: Any) -> None:
    head = config.model.head
    if head.name in UNETS:
        # One block per long skip, and one more where the stem itself is strided.
        blocks = long_skip_levels(config) + spell_out(config.model).strided_stem
        if len(head.channels) not in (0, blocks):
            _refuse(
                config,
                "model.head.channels",
                f"expected {blocks} numbers, one per decoder block, "
                f"got {len(head.channels)}",
            )
    elif head.channels:
        _refuse(config, "model.head.channels", f"head {head.name!r} has no decoder")
    if head.name not in PYRAMID_HEADS:
        for key in ("model.head.width", "model.head.rates", "model.head.separable"):
            if _value(config, key):
                _refuse(config, key, f"head {head.name!r} has no pyramid")
    if head.name != "deeplabv3plus" and tuple(head.convs) != DEEPLABV3PLUS_CONVS:
        _refuse(config, "model.head.convs", f"head {head.name!r} has no such layers")


def _pyramid(config: Any) -> None:
    head, stride = config.model.head, spell_out(config.model).output_stride
    if len(set(head.rates)) < len(head.rates):
        _refuse(config, "model.head.rates", "expected 3 different dilations")
    unknown = stride not in PYRAMID_STRIDES
    if head.name in PYRAMID_HEADS and not head.rates and unknown:
        listed = ", ".join(map(str, PYRAMID_STRIDES))
        _refuse(
            config,
            "model.head.rates",
            f"output stride {stride} needs 3 dilations (only {listed} have defaults)",
        )


def _lists(config: Any) -> None:
    blocks = sum(spell_out(config.model).stage_sizes) + decoder_blocks(config.model)
    joins = config.model.long_skip.kind != "none"
    levels = long_skip_levels(config) if joins else 0
    branches = PYRAMID_BRANCHES if config.model.head.name in PYRAMID_HEADS else 0
    groups = (
        (PER_BLOCK, blocks, "block"),
        (PER_LEVEL, levels, "long skip"),
        (PER_PYRAMID_BRANCH, branches, "pyramid branch"),
    )
    flat = flatten(config)
    for keys, count, noun in groups:
        for key in keys:
            if isinstance(flat[key], list | tuple) and len(flat[key]) != count:
                wanted = f"{count}, one per {noun}" if count else f"there is no {noun}"
                _refuse(
                    config,
                    key,
                    f"expected one number{' or ' if count else ', '}{wanted}; "
                    f"got {len(flat[key])}",
                )


def _absent_shortcut(config: Any) -> None:
    if config.model.shortcut.kind != "none":
        return
    neutral = {
        "model.shortcut.learn": "no",
        "model.shortcut.transition": "",
        "model.shortcut.scale": 1.0,
        "model.gradient.shortcut": 1.0,
        "model.backbone.stochastic_depth": 0.0,  # a dropped branch would leave nothing
        "model.backbone.zero_gamma": False,  # each block would start as the zero map
    }
    for key, value in neutral.items():
        if _value(config, key) != value:
            _refuse(
                config,
                key,
                f"impossible without shortcuts (kind 'none'), set {value!r}",
            )


def _long_skips(config: Any) -> None:
    head, kind = config.model.head.name, config.model.long_skip.kind
    if kind != "native" and not long_skip_levels(config):
        _refuse(config, "model.long_skip.kind", f"head {head!r} has no long skips")
    if kind == "add" and head not in ADDING_HEADS:
        _refuse(config, "model.long_skip.kind", f"head {head!r} can only concatenate")
    if kind == "none":
        for key in PER_LEVEL:
            if _value(config, key) != 1.0:
                _refuse(config, key, "impossible without long skips (kind 'none')")


def _transition(config: Any) -> None:
    model = config.model
    if model.shortcut.transition != "A":
        return
    resunet, everywhere = model.head.name == "resunet", model.shortcut.kind == "conv1x1"
    narrows = spell_out(model).block == "basic" and model.backbone.width_factor < 1
    for holds, reason in (
        (resunet, "the blocks of a resunet decoder lose channels, which 'A' cannot"),
        (everywhere, "has no 1x1 convolution and kind 'conv1x1' has one everywhere"),
        (narrows, "a width_factor below 1 loses channels, which 'A' cannot"),
    ):
        if holds:
            _refuse(config, "model.shortcut.transition", reason)


def _zero_start(config: Any) -> None:
    """A standardised kernel that is zero has no direction to leave it in."""
    plan, model = spell_out(config.model), config.model
    bare = plan.order == "pre" or model.norm == "none"
    if model.backbone.zero_gamma and bare and model.weight_standardization:
        _refuse(
            config,
            "model.backbone.zero_gamma",
            "the last kernel of a branch cannot be zero and standardised",
        )


def _init(config: Any) -> None:
    if config.init.variables_from and config.init.backbone_from:
        _refuse(config, "init.backbone_from", "init.variables_from is set too")


def _loss(config: Any) -> None:
    weights = config.loss.class_weights
    if isinstance(weights, str):
        choose("config.loss.class_weights", weights, ["median_frequency"])
    elif weights and not any(weights):
        _refuse(config, "loss.class_weights", "expected at least one above 0")
    if not any(config.loss.terms[term] for term in LOSS_TERMS):
        listed = ", ".join(LOSS_TERMS)
        raise UserError(f"config.loss.terms: expected at least one of {listed} above 0")


def _mesh(config: Any) -> None:
    devices = config.mesh.data
    for key in ("data.batch_size", "data.eval_batch_size"):
        if devices and _value(config, key) % devices:
            _refuse(config, key, f"expected a multiple of config.mesh.data={devices}")


RULES = (
    _data,
    _stages,
    _kind_of_block,
    _stages_for_head,
    _undilated_unet,
    _crop,
    _head_fields,
    _pyramid,
    _lists,
    _absent_shortcut,
    _long_skips,
    _transition,
    _zero_start,
    _init,
    _loss,
    _mesh,
)
