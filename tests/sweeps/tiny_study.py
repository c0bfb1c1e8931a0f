"""The config of a run of seconds, and how far a sweep of such runs is."""

import contextlib
import time

from resseg.sweeps import attempts
from resseg.sweeps.plan import read_plan

_CONFIG = """
from resseg.config import base
def get_config():
    config = base.get_config()
    config.data.dir = {data_dir!r}
    config.data.crop = (32, 32)
    config.data.batch_size = 2
    config.data.shapes.train_images = 4
    config.data.shapes.val_images = 2
    config.data.shapes.size = (32, 32)
    config.model.backbone.depth = 10
    config.model.backbone.width = 4
    config.model.backbone.stage_sizes = (1, 1)
    config.model.backbone.stage_strides = (1, 2)
    config.model.head.name = "fcn"
    config.mesh.data = 1
    config.train.steps = 6
    config.checkpoint.every = {every}
    config.log.every = 1
    config.eval.predictions = 0
    config.log.tensorboard = False
    return config
"""


def tiny_config(data_dir, every=2):
    """The text of a config file; a checkpoint after `every` steps."""
    return _CONFIG.format(data_dir=str(data_dir), every=every)


def wait_until(condition, seconds=240):
    """Returns when it holds; fails after so many seconds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come to it"
        time.sleep(0.02)


def steps_made(work):
    """Steps that all runs together have logged."""
    if not (work / "sweep.json").exists():
        return 0
    with contextlib.suppress(Exception):  # it is being written
        return sum(attempts.last_step(run.folder) for run in read_plan(work).runs)
    return 0
