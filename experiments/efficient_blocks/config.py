"""A U-Net on 18 layers of residual blocks with a decoder that stays the same."""

from ml_collections import ConfigDict

from resseg.config import base


def get_config() -> ConfigDict:
    config = base.get_config()
    config.data.batch_size = 8
    config.data.crop = (64, 64)
    config.data.scale = (1.0, 1.0)
    config.data.color = 0.0

    backbone = config.model.backbone
    backbone.depth = 18
    backbone.stem = "3x3"
    backbone.stage_strides = (2, 2, 2, 2)
    backbone.output_stride = 16
    config.model.head.name = "unet"
    config.model.head.channels = (32, 32, 16, 16)

    config.loss.terms.dice = 1.0
    config.optim.learning_rate = 4e-3
    config.optim.warmup_steps = 50
    config.train.steps = 500
    config.eval.predictions = 0
    config.checkpoint.every = 1000  # only at the end
    config.log.gradients.every = 50
    config.log.tensorboard = False
    return config
