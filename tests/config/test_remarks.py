"""What is said of configs that are legal and odd."""

import pytest

from resseg.config.load import load_config
from resseg.config.remarks import remarks


@pytest.mark.parametrize(("warmup", "steps"), [(100, 100), (101, 100), (8, 4)])
def test_a_warm_up_that_never_ends_is_said(warmup, steps):
    changes = {"optim.warmup_steps": warmup, "train.steps": steps}
    config = load_config("quickstart", changes | {"optim.learning_rate": 0.5})
    (line,) = remarks(config)
    reached = 0.5 * (steps - 1) / warmup
    assert f"warmup_steps={warmup}" in line and f"train.steps={steps}" in line
    assert f"ends at {reached:.3g} on its way to 0.5" in line


def test_a_plain_config_needs_no_remark():
    assert remarks(load_config("quickstart")) == []
    changes = {"optim.warmup_steps": 99, "train.steps": 100}
    assert remarks(load_config("quickstart", changes)) == []
