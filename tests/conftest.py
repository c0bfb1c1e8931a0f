"""What holds for every test: 4 CPU devices, strict broadcasting, no display."""

import gc
import os
from pathlib import Path

import compiled
import own_level

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("MPLBACKEND", "Agg")
# Tests compile far more than they compute: code that is not optimised is there in half
# the time. Those marked `bits` compile as training does, see `own_level`.
os.environ.setdefault("XLA_FLAGS", f"{own_level.LEVEL}=0")

import jax
import pytest
from absl import flags
from fake_run import write_fake_run
from tiny import tiny_shapes

from resseg.config.load import load_config

ROOT = Path(__file__).resolve().parent.parent
QUICKSTART = ROOT / "configs" / "quickstart.py"

jax.config.update("jax_num_cpu_devices", 4)
jax.config.update("jax_numpy_rank_promotion", "raise")
flags.FLAGS.mark_as_parsed()  # grain and tfds read absl flags


def pytest_configure(config):
    own_level.register(config)


def pytest_unconfigure():
    compiled.remove()


def pytest_collection_finish():
    """What was imported stays: to look through it again took a twelfth of all time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory):
    """One folder of prepared data sets for the session."""
    return tmp_path_factory.mktemp("data")


@pytest.fixture
def tiny_overrides(data_dir):
    """Keys that make `configs/quickstart.py` a run of seconds."""
    return {
        **tiny_shapes(data_dir),
        "model.backbone.width": 8,
        "model.backbone.stage_sizes": (1, 1, 1),
        "model.backbone.stage_strides": (2, 2, 2),
        "model.backbone.output_stride": 8,
        "train.steps": 4,
        "checkpoint.every": 2,
        "log.every": 1,
        "eval.predictions": 1,
    }


@pytest.fixture
def tiny_config(tiny_overrides):
    """A config of a run of seconds on `shapes`."""
    return load_config(QUICKSTART, tiny_overrides)


@pytest.fixture(scope="session")
def fake_run():
    """Writes a run folder whose gradient norms are known."""
    return write_fake_run
