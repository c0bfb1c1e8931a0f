"""FCN-8s on a small ResNet-18, nuclei. About 6 min on 2 CPU cores.

resseg train --config configs/nuclei/fcn.py --workdir runs/nuclei-fcn
"""

from ml_collections import ConfigDict

from configs.nuclei import unet


def get_config() -> ConfigDict:
    config = unet.get_config()  # data, backbone and recipe
    config.model.head.name = "fcn8s"
    config.train.steps = 1000
    return config
