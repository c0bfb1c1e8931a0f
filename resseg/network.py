"""From `config.model` to a linen module: the one place where both meet."""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp

from resseg.backbone import Backbone, decoder_blocks, spell_out
from resseg.models.blocks import BlockFactors, BlockStyle
from resseg.models.heads import HEADS
from resseg.models.heads.deeplab import RATES, Pyramid
from resseg.models.heads.fcn import FCN
from resseg.models.resnet import ResNet
from resseg.models.segmenter import Segmenter

AUX_DROPOUT = 0.1  # torchvision's
UNETS = ("unet", "resunet")


def build_segmenter(model: Any, num_classes: int) -> Segmenter:
    """The network that `config.model` describes.

    Args:
        model: `config.model`, validated.
        num_classes: void not counted.
    """
    plan = spell_out(model)
    dtype = jnp.dtype(model.dtype).type
    skips = skip_stages(model.head.name, plan.stages)
    if model.long_skip.kind == "none":
        skips = ()
    aux = plan.stages[-2] if model.aux.weight > 0 else ""
    style = block_style(model, plan)
    blocks = sum(plan.stage_sizes)
    factors = block_factors(model, blocks + decoder_blocks(model))
    backbone = ResNet(
        stage_sizes=plan.stage_sizes,
        width=plan.width,
        stem=plan.stem,
        stage_strides=plan.stage_strides,
        output_stride=plan.output_stride,
        dilation=model.backbone.dilation,
        multi_grid=tuple(model.backbone.multi_grid),
        style=style,
        skips=skips,
        aux=aux,
        factors=factors[:blocks],
        skip_gradients=per_level(model.gradient.long_skip, len(skips)),
        aux_gradient=model.gradient.aux,
        stochastic_depth=model.backbone.stochastic_depth,
    )
    head = build_head(model, plan, num_classes, skips, style, factors[blocks:])
    aux_head = None
    if aux:
        aux_head = FCN(num_classes, "aux", AUX_DROPOUT, model.norm, dtype)
    return Segmenter(backbone, head, aux_head, dtype, model.head.align_corners)


def block_style(model: Any, plan: Backbone) -> BlockStyle:
    """What all residual blocks of the network share."""
    return BlockStyle(
        block=plan.block,
        order=plan.order,
        norm=model.norm,
        shortcut=model.shortcut.kind,
        learn_shortcut=model.shortcut.learn,
        learn_branch=model.branch.learn,
        transition=plan.transition,
        stride_on=plan.stride_on,
        groups=model.backbone.groups,
        group_width=model.backbone.group_width,
        width_factor=model.backbone.width_factor,
        se_reduction=model.backbone.se_reduction,
        standardized=model.weight_standardization,
        zero_gamma=model.backbone.zero_gamma,
        dropout=model.backbone.dropout,
        dtype=jnp.dtype(model.dtype).type,
    )


def build_head(
    model: Any,
    plan: Backbone,
    num_classes: int,
    skips: tuple[str, ...],
    style: BlockStyle,
    factors: tuple[BlockFactors, ...],
) -> Any:
    """The head that `config.model.head` names; `factors` are of its own blocks."""
    name = model.head.name
    common: dict[str, Any] = {"num_classes": num_classes, "dtype": style.dtype}
    common["dropout"] = model.head.dropout
    scales = per_level(model.long_skip.scale, len(skips))
    if name in ("fcn32s", "fcn16s", "fcn8s"):
        return HEADS[name](**common, skips=skips, skip_scales=scales)
    common["norm"] = model.norm
    if name == "fcn":
        return HEADS[name](**common)
    if name in UNETS:
        decoder = {"style": style, "factors": factors} if name == "resunet" else {}
        return HEADS[name](
            **common,
            **decoder,
            channels=tuple(model.head.channels) or decoder_channels(plan),
            skips=skips,
            merge="add" if model.long_skip.kind == "add" else "concat",
            skip_scales=scales,
        )
    rates = tuple(model.head.rates) or RATES[plan.output_stride]
    pyramid = Pyramid(
        width=model.head.width or 4 * plan.width,
        rates=rates,
        gradients=per_level(model.gradient.pyramid, len(rates) + 2),
        dropout=common.pop("dropout"),
        norm=model.norm,
        dtype=style.dtype,
        separable=model.head.separable,
    )
    if name == "deeplabv3":
        return HEADS[name](**common, pyramid=pyramid, separable=model.head.separable)
    return HEADS[name](
        **common,
        pyramid=pyramid,
        skips=skips,
        skip_scales=scales,
        separable=model.head.separable,
        convs=tuple(model.head.convs),
        align_corners=model.head.align_corners,
    )


def skip_stages(head: str, stages: Sequence[str]) -> tuple[str, ...]:
    """Features that a head merges besides the deepest, shallow first."""
    unet = ("stem", *stages[:-1])
    return {
        "fcn16s": tuple(stages[-2:-1]),
        "fcn8s": tuple(stages[-3:-1]),
        "unet": unet,
        "resunet": unet,
        "deeplabv3plus": ("stage1",),
    }.get(head, ())


def decoder_channels(plan: Backbone) -> tuple[int, ...]:
    """Halved per level, deep first, at least 8: 256 … 16 for ResNet-18/34/50."""
    levels = len(plan.stages) + plan.strided_stem
    top = plan.width * 2 ** (len(plan.stages) - 2)
    return tuple(max(int(top * 0.5**i), 8) for i in range(levels))


def block_factors(model: Any, blocks: int) -> tuple[BlockFactors, ...]:
    """The numeric coefficients of every block, in depth order."""
    columns = (
        model.shortcut.scale,
        model.branch.scale,
        model.gradient.shortcut,
        model.gradient.branch_in,
        model.gradient.branch_out,
    )
    rows = zip(*(per_level(column, blocks) for column in columns), strict=True)
    return tuple(BlockFactors(*row) for row in rows)


def per_level(value: float | Sequence[float], count: int) -> tuple[float, ...]:
    """A number stands for `count` equal ones."""
    if isinstance(value, int | float):
        return (float(value),) * count
    return tuple(float(v) for v in value)
