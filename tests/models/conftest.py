"""Small networks for the structure tests."""

import pytest

from resseg.config import base


@pytest.fixture
def small():
    """config.model of a network that computes in milliseconds; change what matters."""
    model = base.get_config().model
    model.backbone.depth = 10
    model.backbone.width = 8
    model.backbone.stem = "3x3"
    model.backbone.stage_strides = (2, 2, 2, 2)
    model.backbone.output_stride = 16
    return model
