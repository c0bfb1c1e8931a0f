"""FCN-8s on a small ResNet-18, road_defects. About 7 min on 2 CPU cores.

resseg train --config configs/road_defects/fcn.py --workdir runs/road-fcn
"""

from ml_collections import ConfigDict

from configs import base


def get_config() -> ConfigDict:
    config = base.get_config()
    config.data.name = "road_defects"
    config.data.batch_size = 8
    config.data.crop = (160, 256)
    config.data.rare_crop = 0.5
    config.data.rare_classes = (2, 3)  # crack, pothole

    backbone = config.model.backbone
    backbone.depth = 18
    backbone.width = 16
    backbone.stem = "3x3"
    backbone.stage_strides = (2, 2, 2, 2)
    backbone.output_stride = 16
    config.model.head.name = "fcn8s"

    config.loss.class_weights = (1.0, 1.0, 8.0, 8.0)
    config.loss.terms.dice = 1.0  # counts a rare class as much as a common one
    config.optim.learning_rate = 2e-3
    config.optim.warmup_steps = 50
    config.optim.weight_decay = 0.01
    config.train.steps = 800
    return config
