"""Networks named by the settings that differ from `resseg.config.base`."""

from resseg.blueprint.network import build_segmenter
from resseg.config import base


def network(num_classes=21, **settings):
    """`settings` are keys of `config.model`."""
    config = base.get_config().model
    for key, value in settings.items():
        config.update_from_flattened_dict({key: value})
    return build_segmenter(config, num_classes)
