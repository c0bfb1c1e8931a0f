"""DeepLabV3+ on a small ResNet-18, nuclei. About 8 min on 2 CPU cores.

resseg train --config nuclei/deeplab --workdir runs/nuclei-deeplab
"""

from ml_collections import ConfigDict

from resseg.config import builtin


def get_config() -> ConfigDict:
    config = builtin.get_config("nuclei/unet")  # data, backbone and recipe
    config.model.head.name = "deeplabv3plus"
    config.model.backbone.output_stride = 8  # the last stage is dilated
    config.train.steps = 1000
    return config
