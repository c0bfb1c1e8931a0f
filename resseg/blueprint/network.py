"""From `config.model` to a linen module: the one place where both meet."""

import dataclasses
import importlib
from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from resseg.architecture import Backbone, spell_out
from resseg.config import coefficients
from resseg.config.heads import (
    block_places,
    branch_names,
    decoder_channels,
    decoder_levels,
    head_of,
    head_width,
    merged,
)
from resseg.gradients.coefficients import on_line
from resseg.models.blocks import BlockFactors
from resseg.models.branch import BlockStyle
from resseg.models.heads.deeplab import RATES, Pyramid
from resseg.models.heads.fcn import FCN
from resseg.models.network import SegmentationNetwork
from resseg.models.resnet import ResNet

AUX_DROPOUT = 0.1  # torchvision's

Pick = Callable[[coefficients.Schedule], float]


def at_start(schedule: coefficients.Schedule) -> float:
    """The value of a coefficient at step 0."""
    return on_line(schedule, 0)


def build_segmenter(
    model: Any, num_classes: int, pick: Pick = at_start
) -> SegmentationNetwork:
    """The network that `config.model` describes.

    Args:
        model: `config.model`, validated.
        num_classes: void not counted.
        pick: the number of a coefficient that goes into the `paths` collection.
    """
    plan = spell_out(model)
    numbers = Coefficients(model, pick)
    dtype = jnp.dtype(model.dtype).type
    skips = merged(model)
    aux = plan.stages[-2] if model.aux.weight > 0 else ""
    blocks = sum(plan.stage_sizes)
    factors = numbers.of_blocks()
    style = block_style(model, plan, len(factors))
    backbone = ResNet(
        stage_sizes=plan.stage_sizes,
        width=plan.width,
        stem=plan.stem,
        stage_strides=plan.stage_strides,
        output_stride=plan.output_stride,
        dilation=model.backbone.dilation,
        multi_grid=tuple(model.backbone.multi_grid),
        widths=plan.widths,
        stem_output=plan.stem_output,
        tail=plan.tail,
        inner=tuple(model.backbone.inner),
        kernels=plan.kernels,
        stem_squeezes=bool(model.backbone.layout) and plan.block == "mbconv",
        style=style,
        skips=skips,
        aux=aux,
        factors=factors[:blocks],
        skip_gradients=numbers(model.gradient.long_skip, skips),
        aux_gradient=numbers(model.gradient.aux, ("aux",))[0],
        stochastic_depth=model.backbone.stochastic_depth,
        drop_block_size=model.drop_block.size if drops_blocks(model) else 0,
    )
    head = build_head(model, plan, num_classes, skips, style, factors[blocks:], numbers)
    aux_head = None
    if aux:
        aux_head = FCN(num_classes, "aux", AUX_DROPOUT, model.norm, dtype)
    return SegmentationNetwork(
        backbone, head, aux_head, dtype, model.head.align_corners
    )


class Coefficients:
    """The coefficients of `config.model` as numbers, one for each place."""

    def __init__(self, model: Any, pick: Pick):
        self._model, self._pick = model, pick

    def __call__(
        self, value: Any, places: Sequence[str], neutral: float = 1.0
    ) -> tuple[float, ...]:
        schedules = coefficients.expand(value, len(places), places, neutral)
        return tuple(map(self._pick, schedules))

    def of_blocks(self) -> tuple[BlockFactors, ...]:
        """Of every residual block in depth order, those of a decoder last."""
        model, places = self._model, block_places(self._model)
        columns = (
            self(model.shortcut.scale, places),
            self(model.branch.scale, places),
            self(model.gradient.shortcut, places),
            self(model.gradient.branch_in, places),
            self(model.gradient.branch_out, places),
            self(model.gradient.bypass, places, 0.0),
            self(model.gradient.detach_rate, places, 0.0),
            self(model.shortcut.rate, places, 0.0),
            self(model.shortcut.gate_bias, places, 0.0),
            self(model.shortcut.first, places, 0.0),
            self(model.gradient.clip_sites, places, 0.0),
            self(model.branch.drop_rate, places, 0.0),
            self(model.drop_block.rate, places, 0.0),
            self(model.branch.shake_rate, places, 0.0),
        )
        return tuple(BlockFactors(*row) for row in zip(*columns, strict=True))


def drops_blocks(model: Any) -> bool:
    """Whether squares of features are dropped, in some block at some time."""
    return not coefficients.is_neutral(model.drop_block.rate, 0.0)


def block_style(model: Any, plan: Backbone, blocks: int) -> BlockStyle:
    """What all residual blocks of the network share; `blocks` is their number."""
    return BlockStyle(
        block=plan.block,
        order=plan.order,
        norm=model.norm,
        shortcut=model.shortcut.kind,
        learn_branch=model.branch.learn,
        transition=plan.transition,
        stride_on=plan.stride_on,
        groups=model.backbone.groups,
        group_width=model.backbone.group_width,
        width_factor=model.backbone.width_factor,
        expansion=model.backbone.expansion,
        se_reduction=model.backbone.se_reduction,
        standardized=model.weight_standardization,
        init=model.branch.init,
        blocks=blocks,
        span=model.shortcut.span,
        detach=not coefficients.is_neutral(model.gradient.detach_rate, 0.0),
        streams=model.shortcut.streams,
        constrained=model.shortcut.mixing == "doubly_stochastic",
        first=not coefficients.is_neutral(model.shortcut.first, 0.0),
        orthogonal=model.branch.orthogonal,
        delta=model.branch.delta,
        preserve=model.gradient.normalize == "block",
        surgery=model.gradient.surgery,
        clip=not coefficients.is_neutral(model.gradient.clip_sites, 0.0),
        dropout=model.backbone.dropout,
        drop_path=not coefficients.is_neutral(model.branch.drop_rate, 0.0),
        drop_block=model.drop_block.where if drops_blocks(model) else "",
        shake=model.branch.shake,
        shake_forward=model.branch.shake_forward,
        shake_backward=model.branch.shake_backward,
        dtype=jnp.dtype(model.dtype).type,
    )


def build_head(
    model: Any,
    plan: Backbone,
    num_classes: int,
    skips: tuple[str, ...],
    style: BlockStyle,
    factors: tuple[BlockFactors, ...],
    numbers: Coefficients,
) -> nn.Module:
    """The head that `config.model.head` names, each of its fields filled by its name.

    Args:
        factors: of the head's own blocks.
    """
    row, settings = head_of(model), model.head
    norm = settings.norm or model.norm
    branches = numbers(model.gradient.pyramid, branch_names(model))
    arguments: dict[str, Any] = {
        "num_classes": num_classes,
        "dropout": settings.dropout,
        "norm": norm,
        "dtype": style.dtype,
        "style": dataclasses.replace(style, norm=norm),
        "factors": factors,
        "skips": skips,
        "skip_scales": numbers(model.long_skip.scale, skips),
        "gated": model.long_skip.kind == "gate",
        "learns": model.long_skip.learn,
        "wiring": tuple(model.long_skip.wiring),
        "merge": "add" if model.long_skip.kind == "add" else "concat",
        "channels": decoder_channels(model),
        "levels": decoder_levels(model),
        "width": head_width(model),
        "branch_gradients": branches,
        "separable": settings.separable,
        "convs": tuple(settings.convs),
        "align_corners": settings.align_corners,
        "supervised": settings.deep_supervision > 0,
        "aux_gradient": numbers(model.gradient.aux, ("aux",))[0],
    }
    if "rates" in row.keys:
        arguments["pyramid"] = Pyramid(
            width=head_width(model),
            rates=tuple(settings.rates) or RATES[plan.output_stride],
            gradients=branches,
            dropout=settings.dropout,
            norm=norm,
            dtype=style.dtype,
            separable=settings.separable,
        )
    module, _, name = row.network.partition(":")
    network = vars(importlib.import_module(module))[name]
    fields = [field for field in dataclasses.fields(network) if field.init]
    for field in fields:
        known = field.name in arguments or field.name in ("parent", "name")
        if not known and field.default is dataclasses.MISSING:
            listed = ", ".join(arguments)
            raise TypeError(f"{row.network} wants {field.name!r}, expected of {listed}")
    wanted = {field.name for field in fields}
    return network(**{key: arguments[key] for key in arguments if key in wanted})
