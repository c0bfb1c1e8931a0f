"""FCN-8s on a small ResNet-18, road_defects. About 10 min on 2 CPU cores.

resseg train --config configs/road_defects/fcn.py --workdir runs/road-fcn
"""

from ml_collections import ConfigDict

from configs.road_defects import unet


def get_config() -> ConfigDict:
    config = unet.get_config()  # data, backbone and recipe
    config.model.head.name = "fcn8s"
    return config
