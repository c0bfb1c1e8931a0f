"""U-Net on ResNet-18 of full width, 96 x 96, batch 8: what overheads are quoted for."""

from ml_collections import ConfigDict

from resseg.config import base


def get_config() -> ConfigDict:
    config = base.get_config()
    config.data.crop = (96, 96)
    config.data.batch_size = 8
    config.model.backbone.depth = 18
    config.model.head.name = "unet"
    return config
