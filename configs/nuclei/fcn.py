"""FCN-8s on a small ResNet-18, nuclei. About 6 min on 2 CPU cores.

resseg train --config nuclei/fcn --workdir runs/nuclei-fcn
"""

from ml_collections import ConfigDict

from resseg.config import builtin


def get_config() -> ConfigDict:
    config = builtin.get_config("nuclei/unet")  # data, backbone and recipe
    config.model.head.name = "fcn8s"
    config.train.steps = 1000
    return config
