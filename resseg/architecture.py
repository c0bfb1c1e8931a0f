"""`config.model.backbone` with everything spelled out that depth and variant imply.

Without jax, so that a config is checked by the numbers that the network is built from.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple


class Backbone(NamedTuple):
    """A backbone without any "as depth says".

    Attributes:
        stage_sizes: blocks per stage.
        block: one of `EXPANSION`.
        width: channels of the stem, and of the first stage before expansion.
        order, stem, stride_on, transition: see `resseg.architecture.ResNetVariant`.
        stage_strides: of the first block of each stage.
        native_stride: input pixels per deepest feature if nothing is dilated.
        output_stride: the same, after dilation.
        widths: channels that each block puts out, by stage; () = as width says.
        stem_output: channels that the stem puts out; 0 = as width says.
        tail: channels of a 1x1 convolution behind the last stage; 0 = there is none.
        kernels: sides of the depthwise kernel of each block, by stage; () = 3.
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
    widths: tuple[tuple[int, ...], ...] = ()
    stem_output: int = 0
    tail: int = 0
    kernels: tuple[tuple[int, ...], ...] = ()

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
    if backbone.layout:
        return _laid_out(model, LAYOUTS[backbone.layout])
    sizes, block = DEPTHS[backbone.depth]
    cifar = backbone.depth in CIFAR_DEPTHS
    variant = VARIANTS[backbone.variant]
    block = backbone.block or block
    order = variant.order
    if block in INVERTED and order == "post":
        order = "linear"
    stem = backbone.stem or ("3x3" if cifar else variant.stem)
    strides = tuple(backbone.stage_strides) or ((1, 2, 2) if cifar else (1, 2, 2, 2))
    native = native_stride(stem, strides)
    return Backbone(
        stage_sizes=tuple(backbone.stage_sizes) or sizes,
        block=block,
        width=backbone.width or (16 if cifar else 64),
        order=backbone.order or order,
        stem=stem,
        stride_on=backbone.stride_on or variant.stride_on,
        transition=model.shortcut.transition or variant.transition,
        stage_strides=strides,
        native_stride=native,
        output_stride=backbone.output_stride or native,
    )


def _laid_out(model: Any, layout: "Layout") -> Backbone:
    """The backbone of `config.model` where it has a layout of its own."""
    backbone, share = model.backbone, model.backbone.width_factor
    widths = tuple(
        tuple(multiple_of_8(width * share) for width in stage)
        for stage in layout.widths
    )
    strides = (2,) * len(widths)
    native = native_stride("mobile", strides)
    return Backbone(
        stage_sizes=tuple(map(len, widths)),
        block=layout.block,
        width=multiple_of_8(layout.stem[0] * share),
        order=backbone.order or "linear",
        stem="mobile",
        stride_on="3x3",
        transition=model.shortcut.transition or "none",
        stage_strides=strides,
        native_stride=native,
        output_stride=backbone.output_stride or native,
        widths=widths,
        stem_output=multiple_of_8(layout.stem[1] * share),
        tail=multiple_of_8(layout.tail * max(share, 1)),
        kernels=layout.kernels,
    )


def multiple_of_8(wanted: float) -> int:
    """The nearest multiple of 8 that keeps nine tenths of it (MobileNet's rule)."""
    nearest = max(int(wanted + 4) // 8 * 8, 8)
    return nearest + 8 * (nearest < 0.9 * wanted)


def padding_multiple(model: Any) -> int:
    """Evaluated images are padded to a multiple of the stride without dilation."""
    return spell_out(model).native_stride


# depth -> blocks per stage and their kind. He et al. 2015: table 1, and section 4.2
# (CIFAR: 6n + 2 layers; 164 has 9n + 2 in bottlenecks, He 2016). 10: one block each.
DEPTHS: dict[int, tuple[tuple[int, ...], str]] = {
    10: ((1, 1, 1, 1), "basic"),
    18: ((2, 2, 2, 2), "basic"),
    34: ((3, 4, 6, 3), "basic"),
    50: ((3, 4, 6, 3), "bottleneck"),
    101: ((3, 4, 23, 3), "bottleneck"),
    152: ((3, 8, 36, 3), "bottleneck"),
    20: ((3, 3, 3), "basic"),
    32: ((5, 5, 5), "basic"),
    44: ((7, 7, 7), "basic"),
    56: ((9, 9, 9), "basic"),
    110: ((18, 18, 18), "basic"),
    164: ((18, 18, 18), "bottleneck"),
}
CIFAR_DEPTHS = (20, 32, 44, 56, 110, 164)
# block -> its output width over that of its stage
EXPANSION = {
    "basic": 1,
    "bottleneck": 4,
    "depthwise": 1,
    "inverted": 1,
    "mbconv": 1,
    "ghost": 1,
}
PRUNABLE = ("basic", "bottleneck", "inverted", "mbconv")  # see `resseg.pruning`
INVERTED = ("inverted", "mbconv", "ghost")  # wide inside, narrow where blocks meet
ORDERS = ("post", "bn_after_add", "relu_before_add", "relu_only_pre", "pre", "linear")
STEM_STRIDES = {"7x7": 4, "deep": 4, "3x3": 1, "mobile": 2}  # pooling included
POOLED_STEMS = ("7x7", "deep")
STRIDE_ON = ("3x3", "1x1")
TRANSITIONS = ("A", "B", "C", "D", "none")
LEARN = ("no", "scalar", "channel")
GATED = ("gate_exclusive", "gate_shortcut")
SHORTCUT_KINDS = (
    "identity",
    "none",
    "constant",
    "learned_scalar",
    "learned_channel",
    "conv1x1",
    *GATED,
    "dropout",
)
BRANCH_INITS = ("he", "zero_gamma", "fixup", "dirac", "delta_orthogonal")
MIXINGS = ("free", "doubly_stochastic")
WITHIN = ("no", "site", "image")  # what an inner product of two paths is taken over
DILATIONS = ("torchvision", "uniform")


def nested_paths(skips: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """The nodes of a UNet++ to which each feature and each node goes, if to several.

    Args:
        skips: features that are merged, shallow first.

    Example:
        >>> nested_paths(("stem", "stage1"))
        {'stage1': ('x_0_0', 'x_1_1'), 'stem': ('x_0_1', 'x_1_1')}
    """
    depth, paths = len(skips), {}
    for level, stage in enumerate(skips[::-1]):
        merging = [f"x_{i}_{level}" for i in range(level + 1)]
        enlarging = [f"x_{level + 1}_{level + 1}"] * (level + 1 < depth)
        paths[stage] = (*merging, *enlarging)
    for level in range(1, depth):
        for place in range(level, 0, -1):
            merging = [f"x_{i}_{level}" for i in range(place)]
            enlarging = [f"x_{place}_{level + 1}"] * (level + 1 < depth)
            paths[f"x_{place}_{level}"] = (*merging, *enlarging)
    return {source: nodes for source, nodes in paths.items() if len(nodes) > 1}


class ResNetVariant(NamedTuple):
    """What the variant of a ResNet says unless a config says otherwise.

    Attributes:
        order: where norm and ReLU stand around the sum, one of `ORDERS`.
        stem: one of `STEM_STRIDES`.
        stride_on: the convolution of a bottleneck that strides, 1x1 or 3x3.
        transition: A, B, C or D, see `resseg.models.shortcuts.Shortcut`.
    """

    order: str
    stem: str
    stride_on: str
    transition: str


VARIANTS = {
    "v1": ResNetVariant("post", "7x7", "1x1", "B"),  # He 2015
    "v1.5": ResNetVariant("post", "7x7", "3x3", "B"),  # torchvision
    "v1c": ResNetVariant("post", "deep", "3x3", "B"),  # He 2019, ResNet-C
    "v1d": ResNetVariant("post", "deep", "3x3", "D"),  # He 2019, ResNet-D
    "v2": ResNetVariant("pre", "7x7", "3x3", "B"),  # He 2016, full pre-activation
}


class Layout(NamedTuple):
    """A network of another family whose blocks are residual too.

    Attributes:
        block: one of `EXPANSION`.
        stem: channels of its first convolution, and those that it puts out.
        widths: channels that each block puts out; the first of a stage strides.
        tail: channels of the 1x1 convolution behind them.
        kernels: sides of the depthwise kernel of each block; () = 3.
    """

    block: str
    stem: tuple[int, int]
    widths: tuple[tuple[int, ...], ...]
    tail: int
    kernels: tuple[tuple[int, ...], ...] = ()


# Sandler 2018, table 2, and Tan 2019, table 1, cut where the size changes. The block in
# their second rows, which neither expands nor has a shortcut, belongs to the stem.
LAYOUTS = {
    "mobilenetv2": Layout(
        "inverted",
        (32, 16),
        ((24,) * 2, (32,) * 3, (64,) * 4 + (96,) * 3, (160,) * 3 + (320,)),
        1280,
    ),
    "efficientnet_b0": Layout(
        "mbconv",
        (32, 16),
        ((24,) * 2, (40,) * 2, (80,) * 3 + (112,) * 3, (192,) * 4 + (320,)),
        1280,
        ((3,) * 2, (5,) * 2, (3,) * 3 + (5,) * 3, (5,) * 4 + (3,)),
    ),
}


def native_stride(stem: str, stage_strides: Sequence[int]) -> int:
    """Input pixels per feature of the last stage, before any stride is dilated away.

    Example:
        >>> native_stride("7x7", (1, 2, 2, 2))
        32
    """
    return STEM_STRIDES[stem] * math.prod(stage_strides)
