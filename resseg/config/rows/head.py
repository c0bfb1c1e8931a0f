"""The decoder, and the auxiliary head."""

from resseg.config.heads import HEADS
from resseg.config.key import CHANGED, FIXED, SAME, SHAPES, SWITCH, Key
from resseg.config.values import (
    BELOW_ONE,
    NOT_NEGATIVE,
    POSITIVE,
    choice,
    flag,
    integer,
    integers,
    real,
)

ROWS = (
    Key(
        "model.head.name",
        choice("unet", HEADS),
        "the decoder",
        (SHAPES, FIXED, SAME),
    ),
    Key(
        "model.head.channels",
        integers((), POSITIVE),
        "U-Nets, MA-Net: width per decoder block, deep first; () = from backbone.width",
        (SHAPES, FIXED, SAME),
    ),
    Key(
        "model.head.width",
        integer(0, NOT_NEGATIVE),
        "channels of the pyramid; 0 = as published (DeepLab: 256), by backbone.width",
        (SHAPES, FIXED, SAME),
    ),
    Key(
        "model.head.rates",
        integers((), POSITIVE, 0, 3),
        "DeepLab: dilations of the pyramid; () = from backbone.output_stride",
        (SHAPES, FIXED, SAME),
    ),
    Key(
        "model.head.separable",
        flag(False),
        "DeepLab: 3x3 convolutions depthwise-separable",
        (SHAPES, FIXED, SAME),
    ),
    Key(
        "model.head.convs",
        integers((0, 2), NOT_NEGATIVE, 2),
        "DeepLabV3+: 3x3 convolutions before the merge, and after it",
        (SHAPES, FIXED, SAME),
    ),
    Key(
        "model.head.align_corners",
        flag(False),
        "bilinear resizing puts corner pixels on each other",
        (SHAPES, FIXED, SAME),
    ),
    Key(
        "model.head.norm",
        choice("", ("", "batch", "group", "none")),
        'norm of the head; "" = model.norm',
        (SHAPES, FIXED, SAME),
        later=True,
    ),
    Key(
        "model.head.dropout",
        real(0.0, BELOW_ONE),
        "before the classifier: probability that a value is dropped",
        (SHAPES, FIXED, SAME),
    ),
    Key(
        "model.head.deep_supervision",
        real(0.0, NOT_NEGATIVE),
        "U-Nets: weight of the loss of the level before the last, halved with each "
        "deeper one; 0.5 = as nnU-Net, 0 = off",
        (SWITCH, FIXED, CHANGED),
        later=True,
    ),
    Key(
        "model.aux.weight",
        real(0.0, NOT_NEGATIVE),
        "weight of the auxiliary loss on stage 3; 0 = no auxiliary head",
        (SWITCH, FIXED, CHANGED),
    ),
)
