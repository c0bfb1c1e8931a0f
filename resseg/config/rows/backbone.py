"""The residual network: its numbers, norms, stages and blocks.

Depth and variant name whole networks; what is left at "", 0 or () is as they say.
"""

from resseg.architecture import (
    DEPTHS,
    DILATIONS,
    EXPANSION,
    LAYOUTS,
    ORDERS,
    STEM_STRIDES,
    STRIDE_ON,
    VARIANTS,
)
from resseg.config.key import CHANGED, FIXED, SAME, SHAPES, Key
from resseg.config.values import (
    BELOW_ONE,
    NOT_NEGATIVE,
    ONE_OR_TWO,
    POSITIVE,
    choice,
    flag,
    integer,
    integers,
    real,
)

ROWS = (
    Key(
        "model.dtype",
        choice("float32", ("float32", "bfloat16", "float16")),
        "floating-point type of the computation, never of weights",
        (SHAPES, FIXED, CHANGED),
    ),
    Key(
        "model.norm",
        choice("batch", ("batch", "group", "none")),
        "what normalises features",
        (SHAPES, FIXED, SAME),
    ),
    Key(
        "model.weight_standardization",
        flag(False),
        "residual kernels have mean 0 and variance 2 / fan-in in each channel",
        (SHAPES, FIXED, SAME),
    ),
    Key(
        "model.backbone.layout",
        choice("", ("", *LAYOUTS)),
        "a network of another family, in place of what depth and variant name; width "
        'by width_factor; "" = a ResNet',
        (SHAPES, FIXED, SAME),
        later=True,
    ),
    Key(
        "model.backbone.depth",
        choice(18, DEPTHS),
        "names the numbers of blocks and their kind; 20, 32, 44, 56, 110, 164: CIFAR's",
        (SHAPES, FIXED, SAME),
    ),
    Key(
        "model.backbone.variant",
        choice("v1.5", VARIANTS),
        "names stem, order, stride_on and shortcut.transition",
        (SHAPES, FIXED, SAME),
    ),
    Key(
        "model.backbone.stage_sizes",
        integers((), POSITIVE),
        "blocks per stage; () = as depth says",
        (SHAPES, FIXED, SAME),
    ),
    Key(
        "model.backbone.block",
        choice("", ("", *EXPANSION)),
        "kind of block: basic | bottleneck | depthwise (basic, separable) | inverted "
        "(MobileNetV2) | mbconv (with squeeze-and-excitation and SiLU) | ghost; "
        '"" = as depth says',
        (SHAPES, FIXED, SAME),
    ),
    Key(
        "model.backbone.order",
        choice("", ("", *ORDERS)),
        "order of norm, ReLU and sum: post (He 2015) | bn_after_add | relu_before_add "
        "| relu_only_pre | pre (He 2016, figure 4) | linear (nothing behind the sum); "
        '"" = as variant says, of inverted blocks linear for post',
        (SHAPES, FIXED, SAME),
    ),
    Key(
        "model.backbone.width",
        integer(0, NOT_NEGATIVE),
        "channels of stem and first stage; 0 = 64, for CIFAR 16",
        (SHAPES, FIXED, SAME),
    ),
    Key(
        "model.backbone.stem",
        choice("", ("", *STEM_STRIDES)),
        "7x7 | deep (three 3x3): stride 2 and max-pooling | 3x3: stride 1, no pooling "
        "| mobile (3x3, depthwise, 1x1): stride 2, no pooling; "
        '"" = as variant says, for CIFAR 3x3',
        (SHAPES, FIXED, SAME),
    ),
    Key(
        "model.backbone.stage_strides",
        integers((), ONE_OR_TWO),
        "stride of the first block of each stage; () = 1, 2, 2, 2, for CIFAR 1, 2, 2",
        (SHAPES, FIXED, SAME),
    ),
    Key(
        "model.backbone.output_stride",
        integer(0, NOT_NEGATIVE),
        "input pixels per deepest feature: last strides become dilations until it is "
        "met; 0 = none do",
        (SHAPES, FIXED, SAME),
    ),
    Key(
        "model.backbone.dilation",
        choice("torchvision", DILATIONS),
        "torchvision (the first dilated block keeps the dilation before it) | uniform",
        (SHAPES, FIXED, SAME),
    ),
    Key(
        "model.backbone.multi_grid",
        integers((), POSITIVE),
        "factor on the dilation of each block of the last stage; () = 1",
        (SHAPES, FIXED, SAME),
    ),
    Key(
        "model.backbone.stride_on",
        choice("", ("", *STRIDE_ON)),
        'the convolution of a bottleneck that strides; "" = as variant says',
        (SHAPES, FIXED, SAME),
    ),
    Key(
        "model.backbone.groups",
        integer(1, POSITIVE),
        "ResNeXt: groups of the 3x3 of a bottleneck; 32 in 32x4d",
        (SHAPES, FIXED, SAME),
    ),
    Key(
        "model.backbone.group_width",
        integer(64, POSITIVE),
        "ResNeXt: channels of a group in the first stage where width is 64; 4 in 32x4d",
        (SHAPES, FIXED, SAME),
    ),
    Key(
        "model.backbone.width_factor",
        real(1.0, POSITIVE),
        "Wide ResNet: blocks put out that many times the channels, bottlenecks hold "
        "them",
        (SHAPES, FIXED, SAME),
    ),
    Key(
        "model.backbone.expansion",
        integer(6, POSITIVE),
        "inverted, mbconv and ghost blocks hold that many times the channels of their "
        "input",
        (SHAPES, FIXED, SAME),
        later=True,
    ),
    Key(
        "model.backbone.inner",
        integers((), POSITIVE),
        "channels inside the branch of each block of the backbone, as `resseg prune` "
        "leaves them; () = as block says",
        (SHAPES, FIXED, SAME),
        later=True,
    ),
    Key(
        "model.backbone.se_reduction",
        integer(0, NOT_NEGATIVE),
        "squeeze-and-excitation; 16 = SE-ResNet, 0 = off",
        (SHAPES, FIXED, SAME),
    ),
    Key(
        "model.backbone.dropout",
        real(0.0, BELOW_ONE),
        "after each branch's activation: probability that a value is dropped",
        (SHAPES, FIXED, SAME),
    ),
    Key(
        "model.backbone.stochastic_depth",
        real(0.0, BELOW_ONE),
        "drop rate of the last branch, linear in depth",
        (SHAPES, FIXED, SAME),
    ),
)
