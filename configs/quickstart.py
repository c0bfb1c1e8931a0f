"""The embedded default: U-Net on a small ResNet-10, shapes. About 3 min on 2 CPU cores.

resseg train --config quickstart --workdir runs/quickstart
"""

from ml_collections import ConfigDict

from resseg.config import base


def get_config() -> ConfigDict:
    config = base.get_config()
    config.data.name = "shapes"
    config.data.batch_size = 16
    config.data.crop = (96, 128)

    backbone = config.model.backbone
    backbone.depth = 10
    backbone.width = 16
    backbone.stem = "3x3"
    backbone.stage_strides = (2, 2, 2, 2)
    backbone.output_stride = 16
    config.model.head.name = "unet"

    config.loss.terms.dice = 1.0  # or the thin and the rare class are never found
    config.optim.learning_rate = 2e-3
    config.train.steps = 300
    return config
