"""U-Net on a small ResNet-18, nuclei. About 10 min on 2 CPU cores.

resseg train --config nuclei/unet --workdir runs/nuclei-unet
"""

from ml_collections import ConfigDict

from resseg.config import base


def get_config() -> ConfigDict:
    config = base.get_config()
    config.data.name = "nuclei"
    config.data.batch_size = 8
    config.data.crop = (128, 128)
    config.data.scale = (1.0, 1.0)  # the border class is 3 pixels wide at any size
    config.data.vertical_flip = 0.5  # a slide has no upside

    backbone = config.model.backbone
    backbone.depth = 18
    backbone.width = 16
    backbone.stem = "3x3"
    backbone.stage_strides = (2, 2, 2, 2)
    backbone.output_stride = 16
    config.model.head.name = "unet"

    config.loss.terms.dice = 1.0
    config.optim.learning_rate = 2e-3
    config.optim.warmup_steps = 50
    config.optim.weight_decay = 0.01
    config.optim.ema = 0.99
    config.train.steps = 1500
    return config
