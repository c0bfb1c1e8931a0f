"""`config.model.backbone` with everything spelled out that depth and variant imply.

Without jax, so that a config is checked by the numbers that the network is built from.
"""

from typing import Any, NamedTuple

from resseg.models.plan import (
    CIFAR_DEPTHS,
    DEPTHS,
    VARIANTS,
    native_stride,
)

UNETS = ("unet", "resunet")


class Backbone(NamedTuple):
    """A backbone without any "as depth says".

    Attributes:
        stage_sizes: blocks per stage.
        block: basic or bottleneck.
        width: channels of the stem, and of the first stage before expansion.
        order, stem, stride_on, transition: see `resseg.models.plan.Variant`.
        stage_strides: of the first block of each stage.
        native_stride: input pixels per deepest feature if nothing is dilated.
        output_stride: the same, after dilation.
    """

    stage_sizes: tuple[int, ...]
    block: str
    width: int
    order: str
    stem: str
    stride_on: str
    transition: str
    stage_strides: tuple[int, ...]
    native_stride: int
    output_stride: int

    @property
    def stages(self) -> tuple[str, ...]:
        """stage1, stage2, …"""
        return tuple(f"stage{i + 1}" for i in range(len(self.stage_sizes)))

    @property
    def strided_stem(self) -> bool:
        """Whether the stem's feature has half the size of the image."""
        return self.stem != "3x3"


def spell_out(model: Any) -> Backbone:
    """The backbone of `config.model`."""
    backbone = model.backbone
    sizes, block = DEPTHS[backbone.depth]
    cifar = backbone.depth in CIFAR_DEPTHS
    variant = VARIANTS[backbone.variant]
    stem = backbone.stem or ("3x3" if cifar else variant.stem)
    strides = tuple(backbone.stage_strides) or ((1, 2, 2) if cifar else (1, 2, 2, 2))
    native = native_stride(stem, strides)
    return Backbone(
        stage_sizes=tuple(backbone.stage_sizes) or sizes,
        block=backbone.block or block,
        width=backbone.width or (16 if cifar else 64),
        order=backbone.order or variant.order,
        stem=stem,
        stride_on=backbone.stride_on or variant.stride_on,
        transition=model.shortcut.transition or variant.transition,
        stage_strides=strides,
        native_stride=native,
        output_stride=backbone.output_stride or native,
    )


def decoder_levels(model: Any) -> int:
    """Steps of a U-Net's decoder: one per long skip, and one where the stem strides."""
    plan = spell_out(model)
    return len(plan.stages) + plan.strided_stem


def block_places(model: Any) -> tuple[str, ...]:
    """The stage of each residual block in depth order; `decoder` for a head's."""
    plan = spell_out(model)
    sizes = zip(plan.stages, plan.stage_sizes, strict=True)
    names = tuple(stage for stage, size in sizes for _ in range(size))
    decoder = decoder_levels(model) if model.head.name == "resunet" else 0
    return names + ("decoder",) * decoder


def skip_names(model: Any) -> tuple[str, ...]:
    """Features that a head merges besides the deepest, shallow first."""
    stages = spell_out(model).stages
    unet = ("stem", *stages[:-1])
    return {
        "fcn16s": stages[-2:-1],
        "fcn8s": stages[-3:-1],
        **dict.fromkeys(UNETS, unet),
        "deeplabv3plus": ("stage1",),
    }.get(model.head.name, ())
