"""What probes differentiate, and the statistics under which they do."""

import jax
import numpy as np
import pytest

from resseg.config.load import load_config
from resseg.probes import subject
from resseg.probes.calibration import make_reestimate

WEIGHT = 0.3


@pytest.fixture(scope="module")
def asked(smallest_overrides):
    """With an auxiliary head and dropout."""
    keys = {
        "model.aux.weight": WEIGHT,
        "model.backbone.dropout": 0.5,
        "loss.terms.dice": 0.0,
    }
    config = load_config("configs/quickstart.py", smallest_overrides | keys)
    return subject.at_init("asked", config)


def test_the_loss_is_that_of_training_with_its_auxiliary_term(asked):
    """Of one mask of dropout; labels of void count nowhere."""
    (batch,) = asked.batches(1)
    label = np.asarray(batch["label"])

    @jax.jit
    def outputs(variables):
        return asked.model.apply(
            variables,
            batch["image"],
            train=True,
            rngs={"dropout": jax.random.key(0)},
            mutable=["batch_stats"],
        )[0]

    def cross_entropy(scores):
        scores = np.asarray(scores, np.float64)
        log_p = scores - np.log(np.exp(scores).sum(-1, keepdims=True))
        valid = label != 255
        true = np.take_along_axis(log_p, np.where(valid, label, 0)[..., None], -1)
        return -true[..., 0][valid].mean()

    scores = outputs(asked.variables)
    main, aux = cross_entropy(scores["logits"]), cross_entropy(scores["aux"])
    loss = jax.jit(lambda v: asked.total_loss(v, batch, train=True))
    found = float(loss(asked.variables))
    assert found == pytest.approx(main + WEIGHT * aux, rel=1e-5)
    assert abs(aux - 1) > 1e-3


def test_statistics_are_collected_under_the_dropout_of_a_seed(asked):
    batches = list(asked.batches(1))
    first, again, other = (
        jax.tree.leaves(make_reestimate(asked.model, seed)(asked.variables, batches))
        for seed in (0, 0, 1)
    )
    for one, two in zip(first, again, strict=True):
        np.testing.assert_array_equal(one, two)
    assert any(
        not np.array_equal(one, two) for one, two in zip(first, other, strict=True)
    )


def test_a_network_of_float16_is_looked_at_in_float32(smallest_overrides):
    """No loss scale lifts what a probe differentiates."""
    overrides = smallest_overrides | {"model.dtype": "float16"}
    config = load_config("configs/quickstart.py", overrides)
    asked = subject.at_init("half", config)
    assert asked.config.model.dtype == "float32" and config.model.dtype == "float16"
    assert np.dtype(asked.model.dtype) == "float32"
