"""Do blocks of few parameters segment as well as ResNet's at equal cost?

Two blocks in each of four stages; the width of each kind is the one whose network costs
most nearly what the basic block of width 16 costs on 64 x 64 pixels, 89.7 million
multiply-adds (87.6 to 91.1). Procedural and real images, 3 seeds.

Prediction: at this size the efficient blocks are not better: their 3x3 convolutions see
one channel each, and 500 steps reward blocks that learn fast. Ghost and depthwise, with
half the parameters, lose at most 0.05 mIoU; what they save in multiply-adds a CPU does
not see: their steps take longer than the basic block's.
"""

from resseg.sweeps import product, ratio, seeds, zipped

CONFIG = "config.py"
BLOCK, WIDTH = "model.backbone.block", "model.backbone.width"
WIDTHS = {
    "basic": 16,
    "bottleneck": 11,
    "depthwise": 30,
    "inverted": 17,
    "mbconv": 17,
    "ghost": 28,
}
EXPANSIONS = {"ghost": 2}
BASELINE = {BLOCK: "basic"}
CLAIMS = [
    ratio(
        f"{block} keeps nine tenths of the basic block's mIoU",
        {BLOCK: block},
        BASELINE,
        at_least=0.9,
        each=["data.name"],
    )
    for block in WIDTHS
    if block != "basic"
]


def runs():
    return product(
        seeds(3),
        {"data.name": ["shapes", "nuclei"]},
        zipped(
            {
                BLOCK: list(WIDTHS),
                WIDTH: list(WIDTHS.values()),
                "model.backbone.expansion": [EXPANSIONS.get(b, 6) for b in WIDTHS],
            }
        ),
    )
