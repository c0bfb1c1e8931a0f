"""DeepLabV3+ on ResNet-50, Pascal VOC 2012. Many hours on GPUs: not run here.

resseg data prepare voc --folder VOCdevkit/VOC2012 --layout voc

resseg train --config voc/deeplab --workdir runs/voc-deeplab

Published: 76.81 mIoU on val, single scale, trained on the 10,582 images of train_aug
(MMSegmentation 0.x model zoo, DeepLabV3+ R-50-D8, 512x512, 40,000 updates of 16 images;
github.com/open-mmlab/mmsegmentation, configs/deeplabv3plus/README.md). The official
archive trains on 1,464: masks of the others are those of SBD (Hariharan et al. 2011);
put them into SegmentationClass and their list into ImageSets/Segmentation as
train_aug.txt, and train with --config.data.split=train_aug.

As there, except: crops are not redrawn where one class covers more than three quarters
of them, colours are jittered by one strength, and dropout and auxiliary head are as
torchvision has them. The backbone starts from ImageNet, imported first:
--config.init.backbone_from=runs/imagenet (resseg import --help).
"""

from ml_collections import ConfigDict

from resseg.config import base


def get_config() -> ConfigDict:
    config = base.get_config()
    config.data.name = "voc"
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
    config.train.steps = 40_000
    config.checkpoint.every = 4000
    config.eval.every = 16_000
    return config
