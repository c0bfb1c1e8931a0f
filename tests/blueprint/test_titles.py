"""What a network is called."""

import pytest

from resseg.blueprint.blueprint import title_of
from resseg.config.load import load_config


@pytest.mark.parametrize(
    ("keys", "title"),
    [
        ({}, "unet on ResNet-18 (v1.5, width 64)"),
        (
            {
                "model.backbone.depth": 50,
                "model.head.name": "fcn",
                "model.backbone.variant": "v1d",
                "model.backbone.width": 32,
            },
            "fcn on ResNet-50 (v1d, width 32)",
        ),
        (
            {"model.backbone.stage_sizes": (2, 2, 2, 2)},
            "unet on ResNet-18 (v1.5, width 64)",
        ),
        (
            {"model.backbone.stage_sizes": (3, 2, 2, 2)},
            "unet on ResNet of (3, 2, 2, 2) basic blocks (v1.5, width 64)",
        ),
        (
            {"model.backbone.block": "bottleneck"},
            "unet on ResNet of (2, 2, 2, 2) bottleneck blocks (v1.5, width 64)",
        ),
        ({"model.backbone.depth": 20}, "unet on ResNet-20 (v1.5, width 16)"),
    ],
)
def test_titles(keys, title):
    assert title_of(load_config("base", keys).model) == title
