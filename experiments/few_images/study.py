"""Which regulariser helps a network that has 40 images to learn from?

Each alone against none, 3 seeds, with the gap between the scores of the images it was
trained on and of others (analyse.py).

Prediction: without any, training images are scored at least 0.05 mIoU above others.
What draws other images (CutMix, ClassMix, mosaic, elastic, colours) narrows the gap and
scores others higher; what disturbs blocks (DropBlock, drop path, ShakeDrop) narrows it
less, because 600 steps are too few to make up for what it slows. Averages of weights
help most for their cost.
"""

from resseg.sweeps import product, seeds

CONFIG = "config.py"
ARMS = {
    "none": {},
    "drop path 0.2": {"model.backbone.stochastic_depth": 0.2},
    "DropBlock 0.1": {"model.drop_block.rate": 0.1},
    "ShakeDrop": {"model.branch.shake": "shake_drop"},
    "dropout 0.2": {"model.backbone.dropout": 0.2},
    "weight decay 0.1": {"optim.weight_decay": 0.1},
    "boundary smoothing 0.2": {"loss.boundary_smoothing": 0.2},
    "colours": {"data.color": 0.4, "data.gamma": 0.3, "data.hue": 0.1},
    "blur, noise, JPEG": {"data.blur": 1.0, "data.noise": 0.05, "data.jpeg": 50},
    "elastic": {"data.elastic": 4.0, "data.elastic_scale": 8.0},
    "cut-out 0.4": {"data.cutout": 0.4},
    "CutMix 0.5": {"data.cutmix": 0.5},
    "ClassMix 0.5": {"data.classmix": 0.5},
    "mosaic 0.5": {"data.mosaic": 0.5},
    "EMA 0.98": {"optim.ema": 0.98},
    "SAM 0.05": {"optim.sam_rho": 0.05},
}
KEYS = sorted({key for arm in ARMS.values() for key in arm})


def runs():
    return product(seeds(3), list(ARMS.values()))
