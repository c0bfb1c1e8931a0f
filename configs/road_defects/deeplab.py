"""DeepLabV3+ on a small ResNet-18, road_defects. About 20 min on 2 CPU cores.

resseg train --config road_defects/deeplab --workdir runs/road-deeplab
"""

from ml_collections import ConfigDict

from resseg.config import builtin


def get_config() -> ConfigDict:
    config = builtin.get_config("road_defects/fcn")  # data, backbone and recipe
    config.model.head.name = "deeplabv3plus"
    config.model.backbone.output_stride = 8  # the last stage is dilated
    return config
