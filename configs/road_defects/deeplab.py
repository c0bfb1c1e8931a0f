"""DeepLabV3+ on a small ResNet-18, road_defects. About 20 min on 2 CPU cores.

resseg train --config configs/road_defects/deeplab.py --workdir runs/road-deeplab
"""

from ml_collections import ConfigDict

from configs.road_defects import fcn


def get_config() -> ConfigDict:
    config = fcn.get_config()  # data, backbone and recipe
    config.model.head.name = "deeplabv3plus"
    config.model.backbone.output_stride = 8  # the last stage is dilated
    return config
