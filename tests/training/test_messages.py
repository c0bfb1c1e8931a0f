"""The first line of a training says what its bits depend on."""

from types import SimpleNamespace

import jax
import numpy as np
import pytest

import resseg
from resseg import sharding
from resseg.data import DatasetSpec
from resseg.gradients.measure import changes_no_bit
from resseg.training.messages import headline

SPEC = DatasetSpec("shapes", ("a", "b"), {"train": 1, "val": 1})


def line(every):
    config = resseg.load_config("quickstart", {"log.gradients.every": every})
    state = SimpleNamespace(params={"kernel": np.zeros((30, 40))})
    return headline(config, SPEC, state, ("fork",) * 8, sharding.make_mesh(1))


@pytest.mark.parametrize(
    ("version", "every", "warns"),
    [((0, 10, 2), 1, True), ((0, 10, 2), 0, False), ((0, 12, 0), 1, False)],
)
def test_the_headline_warns_where_measuring_moves_bits(
    monkeypatch, version, every, warns
):
    monkeypatch.setattr(jax, "__version_info__", version)
    monkeypatch.setattr(jax, "__version__", ".".join(map(str, version)))
    said = line(every)
    assert ", 1,200 parameters, 8 forks" in said and said.endswith(", 1 x cpu")
    warning = " (measuring them may move last bits with JAX 0.10.2)"
    assert (warning in said) == warns


def test_nothing_is_promised_of_devices_that_nobody_has_looked_at(monkeypatch):
    monkeypatch.setattr(jax, "__version_info__", (0, 12, 0))
    assert changes_no_bit("cpu") and not changes_no_bit("gpu")
