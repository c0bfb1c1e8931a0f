"""Which shortcuts of He et al. 2016, Table 1, segment, inside FCN, U-Net and DeepLabV3?

Nine ways to carry a signal past a block, three heads, 3 seeds, on procedural images:
networks of 18 blocks of two 3x3 convolutions behind a 3x3 stem, AdamW, 250 steps.

Prediction, from the errors of ResNet-110 on CIFAR-10 (identity 6.61, shortcut gate -6
6.91, exclusive gate -6 8.70, 1x1 convolution 12.22, 0.5 on both ways 12.35, shortcut
gate 0 12.86; 0.5 on the shortcut, dropout and plain fail): the identity is best in
every head, and halved, dropped or missing shortcuts are worst. With a third of the
depth the differences are smaller than the paper's: at 34 layers a 1x1 convolution did
no harm (He et al. 2015). The U-Net depends least on its block shortcuts, because its
long skips carry the gradient past most blocks.
"""

from resseg.sweeps import ordering, product, ratio, seeds

CONFIG = "config.py"
KIND = "model.shortcut.kind"
HEAD = "model.head.name"
HEADS = ["fcn", "unet", "deeplabv3"]
SCALE, BRANCH = "model.shortcut.scale", "model.branch.scale"
BIAS = "model.shortcut.gate_bias"

IDENTITY = {KIND: "identity"}
PLAIN = {KIND: "none"}
HALF = {KIND: "constant", SCALE: 0.5}
BOTH = HALF | {BRANCH: 0.5}
SHORTCUT_GATE = {KIND: "gate_shortcut", BIAS: -6.0}
OPEN_GATE = {KIND: "gate_shortcut", BIAS: 0.0}
EXCLUSIVE_GATE = {KIND: "gate_exclusive", BIAS: -6.0}
CONVOLUTION = {KIND: "conv1x1"}
DROPOUT = {KIND: "dropout", "model.shortcut.rate": 0.5}

BASELINE = IDENTITY | {SCALE: 1.0, BRANCH: 1.0, BIAS: -6.0}
CLAIMS = [
    ordering("the identity beats a plain network", [IDENTITY, PLAIN], each=[HEAD]),
    ordering(
        "the identity beats a halved shortcut",
        [IDENTITY, HALF | {BRANCH: 1.0}],
        each=[HEAD],
    ),
    ordering("the identity beats dropout on it", [IDENTITY, DROPOUT], each=[HEAD]),
    ordering(
        "a shut shortcut gate beats an open one",
        [SHORTCUT_GATE, OPEN_GATE],
        each=[HEAD],
    ),
    ratio(
        "a shut shortcut gate is within 10 % of the identity",
        SHORTCUT_GATE,
        IDENTITY,
        at_least=0.9,
        each=[HEAD],
    ),
    ratio(
        "the plain U-Net keeps more than half of the identity's mIoU",
        PLAIN,
        IDENTITY,
        where={HEAD: "unet"},
        at_least=0.5,
    ),
    ratio(
        "the plain FCN does not",
        PLAIN,
        IDENTITY,
        where={HEAD: "fcn"},
        at_most=0.5,
    ),
]


def runs():
    kinds = [IDENTITY, HALF, BOTH, EXCLUSIVE_GATE, SHORTCUT_GATE, OPEN_GATE]
    kinds += [CONVOLUTION, DROPOUT, PLAIN]
    return product({HEAD: HEADS}, kinds, seeds(3))
