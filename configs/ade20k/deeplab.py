"""DeepLabV3+ on ResNet-50, ADE20K. Many hours on GPUs: not run here.

resseg data prepare ade20k --folder ADEChallengeData2016 --layout ade

resseg train --config ade20k/deeplab --workdir runs/ade20k-deeplab

Published: 43.95 mIoU on val, single scale (MMSegmentation 0.x model zoo, DeepLabV3+
R-50-D8, 512x512, 160,000 updates of 16 images; github.com/open-mmlab/mmsegmentation,
configs/deeplabv3plus/README.md).

As there, except: crops are not redrawn where one class covers more than three quarters
of them, colours are jittered by one strength, and dropout and auxiliary head are as
torchvision has them. The backbone starts from ImageNet, imported first:
--config.init.backbone_from=runs/imagenet (resseg import --help).
"""

from ml_collections import ConfigDict

from resseg.config import base


def get_config() -> ConfigDict:
    config = base.get_config()
    config.data.name = "ade20k"
    config.data.batch_size = 16
    config.data.crop = (512, 512)
    config.data.scale = (0.5, 2.0)
    config.data.color = 0.5
    config.data.hue = 0.05

    config.model.backbone.depth = 50
    config.model.backbone.variant = "v1c"
    config.model.backbone.output_stride = 8
    config.model.head.name = "deeplabv3plus"
    config.model.head.separable = True
    config.model.aux.weight = 0.4

    optim = config.optim
    optim.name = "sgd"
    optim.learning_rate = 0.01
    optim.weight_decay = 5e-4
    optim.norm_weight_decay = 5e-4
    optim.bias_weight_decay = 5e-4
    optim.schedule = "poly"
    optim.end_factor = 0.01
    config.train.steps = 160_000
    config.checkpoint.every = 4000
    config.eval.every = 16_000
    return config
