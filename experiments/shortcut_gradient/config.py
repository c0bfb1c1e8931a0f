"""FCN on a residual network of 16 narrow blocks: shortcuts are its only skips."""

from ml_collections import ConfigDict

from resseg.config import base


def get_config() -> ConfigDict:
    config = base.get_config()
    config.data.batch_size = 8
    config.data.crop = (64, 64)
    config.data.shapes.train_images = 256
    config.data.shapes.val_images = 48

    backbone = config.model.backbone
    backbone.depth = 32  # of CIFAR: two 3x3 convolutions per block, 3x3 stem
    backbone.stage_sizes = (6, 5, 5)
    backbone.stage_strides = (2, 2, 1)
    backbone.output_stride = 4
    backbone.width = 8
    config.model.head.name = "fcn"

    config.optim.warmup_steps = 20
    config.train.steps = 250
    config.eval.predictions = 0
    config.checkpoint.every = 1000  # only at the end
    config.log.gradients.every = 10
    config.log.tensorboard = False
    return config
