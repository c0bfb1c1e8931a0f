"""FPN on ResNet-34, Oxford-IIIT Pet. Some minutes on a GPU: not run here.

resseg data prepare pets --folder oxford-iiit-pet --layout pets_binary

resseg train --config pets/fpn --workdir runs/pets-fpn

Published: IoU 0.9144 of pet and border together, over all pixels of the official test
images at 256x256 (segmentation_models.pytorch, notebook binary_segmentation_intro: FPN,
resnet34 from ImageNet, 10 epochs of 64 images, Adam, Dice); the IoU of `pet` here.

As there, except: images are not squeezed to 256x256 but cropped, 368 of the 3,680
training images are not held out, and evaluation is at original size. The backbone
starts from ImageNet, imported first: --config.init.backbone_from=runs/imagenet.
"""

from ml_collections import ConfigDict

from resseg.config import base


def get_config() -> ConfigDict:
    config = base.get_config()
    config.data.name = "pets"
    config.data.batch_size = 64
    config.data.crop = (256, 256)
    config.data.scale = (0.5, 1.0)
    config.data.flip = 0.0
    config.data.color = 0.0

    config.model.backbone.depth = 34
    config.model.head.name = "fpn"

    config.loss.terms.cross_entropy = 0.0
    config.loss.terms.dice = 1.0
    config.optim.name = "adamw"
    config.optim.learning_rate = 2e-4
    config.optim.weight_decay = 0.0
    config.optim.end_factor = 0.05
    config.train.steps = 575  # 10 epochs
    return config
