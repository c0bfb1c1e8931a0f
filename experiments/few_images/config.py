"""A residual U-Net on 40 images of nuclei, which it can learn by heart."""

from ml_collections import ConfigDict

from resseg.config import base


def get_config() -> ConfigDict:
    config = base.get_config()
    config.data.name = "nuclei_few"  # of prepare.py
    config.data.batch_size = 8
    config.data.crop = (64, 64)
    config.data.scale = (1.0, 1.0)  # the border class is 3 pixels wide at any size
    config.data.vertical_flip = 0.5
    config.data.color = 0.0

    backbone = config.model.backbone
    backbone.depth = 10
    backbone.width = 16
    backbone.stem = "3x3"
    backbone.stage_strides = (2, 2, 2, 2)
    backbone.output_stride = 16
    config.model.head.name = "unet"

    config.loss.terms.dice = 1.0
    config.optim.learning_rate = 2e-3
    config.optim.warmup_steps = 50
    config.train.steps = 600
    config.eval.predictions = 0
    config.checkpoint.every = 1000  # only at the end
    config.log.gradients.every = 50
    config.log.tensorboard = False
    return config
