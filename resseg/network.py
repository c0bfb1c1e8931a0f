"""From `config.model` to a linen module: the one place where both meet."""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp

from resseg.models.blocks import BlockFactors, BlockStyle
from resseg.models.heads import HEADS
from resseg.models.heads.deeplab import RATES, Pyramid
from resseg.models.heads.fcn import FCN
from resseg.models.resnet import DEPTHS, ResNet
from resseg.models.segmenter import Segmenter

AUX_DROPOUT = 0.1  # torchvision's


def build_segmenter(model: Any, num_classes: int) -> Segmenter:
    """The network that `config.model` describes.

    Args:
        model: `config.model`, validated.
        num_classes: void not counted.
    """
    sizes, block = backbone_plan(model.backbone)
    stages = [f"stage{i + 1}" for i in range(len(sizes))]
    skips = skip_stages(model.head.name, stages)
    if model.long_skip.kind == "none":
        skips = ()
    dtype = jnp.dtype(model.dtype).type
    aux = stages[-2] if model.aux.weight > 0 else ""
    style = BlockStyle(
        block=block,
        order=model.backbone.order,
        norm=model.norm,
        shortcut=model.shortcut.kind,
        learn_shortcut=model.shortcut.learn,
        learn_branch=model.branch.learn,
        zero_gamma=model.backbone.zero_gamma,
        dropout=model.backbone.dropout,
        dtype=dtype,
    )
    backbone = ResNet(
        stage_sizes=sizes,
        width=model.backbone.width,
        stem=model.backbone.stem,
        stage_strides=tuple(model.backbone.stage_strides),
        output_stride=model.backbone.output_stride,
        style=style,
        skips=skips,
        aux=aux,
        factors=block_factors(model, sum(sizes)),
        skip_gradients=per_level(model.gradient.long_skip, len(skips)),
        aux_gradient=model.gradient.aux,
        stochastic_depth=model.backbone.stochastic_depth,
    )
    head = build_head(model, num_classes, skips, len(sizes), dtype)
    aux_head = None
    if aux:
        aux_head = FCN(num_classes, "aux", AUX_DROPOUT, model.norm, dtype)
    return Segmenter(backbone, head, aux_head, dtype)


def build_head(
    model: Any, num_classes: int, skips: tuple[str, ...], stages: int, dtype: Any
) -> Any:
    """The head that `config.model.head` names."""
    name = model.head.name
    common: dict[str, Any] = {"num_classes": num_classes, "dtype": dtype}
    common["dropout"] = model.head.dropout
    scales = per_level(model.long_skip.scale, len(skips))
    if name in ("fcn32s", "fcn16s", "fcn8s"):
        return HEADS[name](**common, skips=skips, skip_scales=scales)
    common["norm"] = model.norm
    if name == "fcn":
        return HEADS[name](**common)
    if name == "unet":
        return HEADS[name](
            **common,
            channels=tuple(model.head.channels) or decoder_channels(model, stages),
            skips=skips,
            merge="add" if model.long_skip.kind == "add" else "concat",
            skip_scales=scales,
        )
    rates = tuple(model.head.rates) or RATES[model.backbone.output_stride]
    pyramid = Pyramid(
        width=model.head.width or 4 * model.backbone.width,
        rates=rates,
        gradients=per_level(model.gradient.pyramid, len(rates) + 2),
        dropout=common.pop("dropout"),
        norm=model.norm,
        dtype=dtype,
    )
    if name == "deeplabv3":
        return HEADS[name](**common, pyramid=pyramid)
    return HEADS[name](**common, pyramid=pyramid, skips=skips, skip_scales=scales)


def backbone_plan(backbone: Any) -> tuple[tuple[int, ...], str]:
    """Blocks per stage and kind of block, from `depth` unless given."""
    sizes, block = DEPTHS[backbone.depth]
    return tuple(backbone.stage_sizes) or sizes, backbone.block or block


def skip_stages(head: str, stages: Sequence[str]) -> tuple[str, ...]:
    """Features that a head merges besides the deepest, shallow first."""
    return {
        "fcn16s": tuple(stages[-2:-1]),
        "fcn8s": tuple(stages[-3:-1]),
        "unet": ("stem", *stages[:-1]),
        "deeplabv3plus": ("stage1",),
    }.get(head, ())


def decoder_channels(model: Any, stages: int) -> tuple[int, ...]:
    """Halved per level, deep first, at least 8: 256 … 16 for ResNet-18/34/50."""
    levels = stages + (model.backbone.stem == "7x7")
    top = model.backbone.width * 2 ** (stages - 2)
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
