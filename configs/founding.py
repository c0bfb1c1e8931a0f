"""The founding example: five layers y = g(W_c x + W_r h(x)) at full resolution.

224x224x3 images, batch 32, g = ReLU, W_c a 1x1 kernel in every layer, W_r a learned
scalar. Nothing is ever downsampled: seconds per step on a GPU become minutes on a CPU
(try --config.train.steps=3 first).

resseg train --config founding --workdir runs/founding
"""

from ml_collections import ConfigDict

from resseg.config import base


def get_config() -> ConfigDict:
    config = base.get_config()
    config.data.shapes.size = (224, 224)
    config.data.crop = (224, 224)
    config.data.batch_size = 32

    backbone = config.model.backbone
    backbone.stage_sizes = (5,)
    backbone.stage_strides = (1,)
    backbone.block = "basic"
    backbone.stem = "3x3"
    backbone.width = 16
    backbone.output_stride = 1
    config.model.shortcut.kind = "conv1x1"  # W_c: a kernel
    config.model.branch.learn = "scalar"  # W_r
    config.model.head.name = "fcn"

    config.train.steps = 300
    return config
