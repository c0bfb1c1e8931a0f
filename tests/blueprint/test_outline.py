"""What is kept of a trace says all that a training asks of its network."""

import json

import jax
import numpy as np
import pytest

from resseg.blueprint.blueprint import Blueprint
from resseg.blueprint.outline import Outline
from resseg.config.load import load_config

MOVING = '{"linear": [1.0, 0.5, 1, 3]}'


@pytest.mark.parametrize(
    "overrides",
    [
        {"model.head.name": "unet", "model.long_skip.scale": 0.5},
        {"model.head.name": "deeplabv3plus", "model.gradient.shortcut": MOVING},
        {"model.shortcut.kind": "gate_exclusive", "model.norm": "none"},
    ],
)
def test_a_blueprint_of_an_outline_is_that_of_its_trace(overrides):
    config = load_config("quickstart", overrides)
    traced = Blueprint.of(config, 3)
    outline = Outline.from_json(json.loads(json.dumps(traced.outline.to_json())))
    known = Blueprint.of(config, 3, outline=outline)
    assert "trace" not in known.__dict__
    assert (known.title, known.params, known.macs) == (
        traced.title,
        traced.params,
        traced.macs,
    )
    assert known.forks(4) == traced.forks(4)
    for name in ("variables", "zero_taps", "lines", "paths"):
        one, other = getattr(known, name), getattr(traced, name)
        if callable(one):
            arguments = () if name == "zero_taps" else (config,)
            one, other = one(*arguments), other(*arguments)
        assert jax.tree.structure(one) == jax.tree.structure(other)
        same = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
        assert all(np.all(a == b) and a.dtype == b.dtype for a, b in same)
    assert "trace" not in known.__dict__
    assert known.trace.macs == traced.trace.macs  # where someone asks for more
