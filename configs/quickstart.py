"""The embedded default: U-Net on a small ResNet-10, shapes. 75 seconds on 2 CPU cores.

resseg train --config quickstart --workdir runs/quickstart
"""

from ml_collections import ConfigDict

from resseg.config import base


def get_config() -> ConfigDict:
    config = base.get_config()
    config.data.name = "shapes"
    # Many small steps, and most crops show a pixel of the rarest class.
    config.data.batch_size = 8
    config.data.crop = (64, 64)
    config.data.rare_crop = 0.7
    config.data.scale = (1.0, 1.0)
    config.data.color = 0.0

    backbone = config.model.backbone
    backbone.depth = 10
    backbone.width = 16
    backbone.stem = "3x3"
    backbone.stage_strides = (2, 2, 2, 2)
    backbone.output_stride = 16
    config.model.head.name = "unet"

    config.loss.terms.dice = 1.0  # or the thin and the rare class are never found
    config.optim.learning_rate = 1e-2
    config.train.steps = 950
    return config
