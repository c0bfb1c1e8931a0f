"""DeepLabV3 on ResNet-50, COCO-Stuff 164k. Many hours on GPUs: not run here.

resseg data prepare coco_stuff --folder coco_stuff164k --layout coco_stuff

resseg train --config coco_stuff/deeplab --workdir runs/coco_stuff-deeplab

Published: 39.38 mIoU on val2017, single scale (MMSegmentation 1.x model zoo, DeepLabV3
R-50-D8, 512x512, 80,000 updates of 16 images; github.com/open-mmlab/mmsegmentation,
configs/deeplabv3/metafile.yaml).

As there, except: crops are not redrawn where one class covers more than three quarters
of them, colours are jittered by one strength, and dropout and auxiliary head are as
torchvision has them. The backbone starts from ImageNet, imported first:
--config.init.backbone_from=runs/imagenet (resseg import --help).
"""

from ml_collections import ConfigDict

from resseg.config import base


def get_config() -> ConfigDict:
    config = base.get_config()
    config.data.name = "coco_stuff"
    config.data.batch_size = 16
    config.data.crop = (512, 512)
    config.data.scale = (0.5, 2.0)
    config.data.color = 0.5
    config.data.hue = 0.05

    config.model.backbone.depth = 50
    config.model.backbone.variant = "v1c"
    config.model.backbone.output_stride = 8
    config.model.head.name = "deeplabv3"
    config.model.aux.weight = 0.4

    optim = config.optim
    optim.name = "sgd"
    optim.learning_rate = 0.01
    optim.weight_decay = 5e-4
    optim.norm_weight_decay = 5e-4
    optim.bias_weight_decay = 5e-4
    optim.schedule = "poly"
    optim.end_factor = 0.01
    config.train.steps = 80_000
    config.checkpoint.every = 4000
    config.eval.every = 16_000
    return config
