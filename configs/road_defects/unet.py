"""U-Net on a ResNet-18 of half width, road_defects. About 65 min on 2 CPU cores.

resseg train --config road_defects/unet --workdir runs/road-unet
"""

from ml_collections import ConfigDict

from resseg.config import base


def get_config() -> ConfigDict:
    config = base.get_config()
    config.data.name = "road_defects"
    config.data.batch_size = 8
    config.data.crop = (256, 416)  # most of an image: a defect lies on the lane
    config.data.scale = (0.75, 1.25)
    config.data.color = 0.3
    config.data.rare_crop = 0.5
    config.data.rare_classes = (2, 3)  # crack, pothole

    backbone = config.model.backbone
    # A pothole needs its surroundings: stride 32 sees the lane. A full-resolution skip
    # (3x3 stem) finds cracks sooner, and ended no higher for its time.
    backbone.depth = 18
    backbone.width = 32
    config.model.head.name = "unet"

    # Class weights made rare classes appear everywhere; Dice weighs them by overlap.
    config.loss.terms.dice = 1.0
    config.optim.learning_rate = 2e-3
    config.optim.warmup_steps = 100
    config.optim.weight_decay = 0.05
    config.optim.ema = 0.995
    config.train.steps = 2600
    config.eval.every = 400
    return config
