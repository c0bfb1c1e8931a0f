"""FCN-8s on a small ResNet-18, road_defects. About 10 min on 2 CPU cores.

resseg train --config road_defects/fcn --workdir runs/road-fcn
"""

from ml_collections import ConfigDict

from resseg.config import base


def get_config() -> ConfigDict:
    config = base.get_config()
    config.data.name = "road_defects"
    config.data.batch_size = 4
    config.data.crop = (256, 416)  # most of an image: a defect lies on the lane
    config.data.scale = (0.75, 1.25)
    config.data.rare_crop = 0.5
    config.data.rare_classes = (2, 3)  # crack, pothole

    backbone = config.model.backbone
    backbone.depth = 18
    backbone.width = 16
    backbone.stem = "3x3"
    backbone.stage_strides = (2, 2, 2, 2)
    backbone.output_stride = 16
    config.model.head.name = "fcn8s"

    # Class weights made rare classes appear everywhere; Dice weighs them by overlap.
    config.loss.terms.dice = 1.0
    config.optim.learning_rate = 2e-3
    config.optim.warmup_steps = 50
    config.optim.weight_decay = 0.01
    config.optim.ema = 0.99
    config.train.steps = 800
    return config
