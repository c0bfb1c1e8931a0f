"""Random valid configs as whole runs: trained, stopped, resumed, read again.

`RESSEG_RUNS` says how many; the slow test has 300.
"""

import json
import os
import signal
import tempfile
from pathlib import Path

import hypothesis
import jax
import numpy as np
import pandas as pd
import pytest
import random_configs
from tiny import tiny_shapes

import resseg
from resseg.data import pipeline
from resseg.runs import layout
from resseg.training import run as train
from resseg.training.program import Programs
from resseg.training.stops import Stop, Stopped

STEPS = 2
RUNS = int(os.environ.get("RESSEG_RUNS", "300"))


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return tiny_shapes(tmp_path_factory.mktemp("data"))


def check(drawn, folders):
    config = random_configs.valid(
        folders
        | drawn
        | {
            "train.steps": STEPS,
            "checkpoint.every": 1,
            "checkpoint.keep_every": 1,
            "log.every": 1,
            "log.tensorboard": False,
            "eval.predictions": 0,
            "mesh.data": 1,
            "data.shapes.size": (64, 64),
        }
    )
    with tempfile.TemporaryDirectory() as root:
        programs, whole = Programs(), Path(root) / "whole"
        train.train_and_evaluate(config, whole, programs)
        read(whole, config)
        goes_on(whole, config, programs)
        jax.clear_caches()


def read(folder, config):
    """The log holds every step and fork, and nothing in it or the weights is odd."""
    run = resseg.open_run(folder)
    assert run.steps == [1, STEPS]
    trained = run.metrics[run.metrics["split"] == "train"]
    assert trained["step"].tolist() == [1, STEPS]
    assert np.isfinite(trained["loss"]).all()
    network = json.loads((folder / layout.NETWORK).read_text())
    params = run.variables(STEPS)["params"]
    assert network["parameters"] == sum(leaf.size for leaf in jax.tree.leaves(params))
    for leaf in jax.tree.leaves(run.variables(STEPS)):
        assert np.isfinite(np.asarray(leaf, np.float64)).all()
    forks = run.gradients["fork"].drop_duplicates().tolist()
    every = config.log.gradients.every
    assert run.gradients["step"].drop_duplicates().tolist() == [1, 2][every - 1 :]
    assert any(name.startswith("backbone/") for name in forks)
    scaled = config.optim.loss_scale and config.model.dtype == "float16"
    assert scaled or (run.gradients["nonfinite"] == 0).all()


def goes_on(whole, config, programs):
    """Stopped after a step and gone on with, it is the same run to the last bit."""
    folder, stop = whole.with_name("again"), Stop()
    draw = pipeline.TrainLoader.__next__

    def ask(loader):
        stop.ask(signal.SIGTERM)
        return draw(loader)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(pipeline.TrainLoader, "__next__", ask)
        with pytest.raises(Stopped, match=f"stopped at step 1 of {STEPS}"):
            train.train_and_evaluate(config, folder, programs, stop=stop)
    train.train_and_evaluate(config, folder, programs)
    assert (whole / layout.METRICS).read_bytes() == (
        folder / layout.METRICS
    ).read_bytes()
    one, two = resseg.open_run(whole), resseg.open_run(folder)
    pd.testing.assert_frame_equal(one.gradients, two.gradients, check_exact=True)
    jax.tree.map(
        np.testing.assert_array_equal, one.variables(STEPS), two.variables(STEPS)
    )


@pytest.mark.slow
@hypothesis.settings(random_configs.SETTINGS, max_examples=RUNS)
@hypothesis.given(random_configs.trainings())
def test_many_random_runs_train_go_on_and_are_read(folders, drawn):
    check(drawn, folders)
