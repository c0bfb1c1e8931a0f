"""Trainings that are cut, and whether it shows."""

import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import forked
import jax
import numpy as np
import orbax.checkpoint as ocp
import pandas as pd

import resseg
from resseg.runs import layout

STEPS = 24
KEYS = {
    "train.steps": STEPS,
    "checkpoint.every": 3,
    "eval.every": 8,
    "eval.predictions": 2,
    "log.every": 1,
    "log.tensorboard": False,
    "mesh.data": 1,
    "optim.ema": 0.9,
    "data.batch_size": 4,
    "data.eval_batch_size": 4,
    "data.crop": (32, 32),
    "data.shapes.train_images": 8,
    "data.shapes.val_images": 4,
    "data.shapes.size": (32, 48),
    "data.shapes.objects": 3,
    "model.backbone.width": 8,
    "model.backbone.stage_sizes": (1, 1),
    "model.backbone.stage_strides": (2, 2),
    "model.backbone.output_stride": 4,
    "model.backbone.dropout": 0.2,
    "model.backbone.stochastic_depth": 0.2,
}


class Trainings:
    """Trains in processes of their own; see `forked`."""

    def __init__(self, root, environment, keys=KEYS, **first):
        self.root = root
        self._keys = keys | {"data.dir": str(root / "data")}
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("forked.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            text=True,
        )
        self.train("whole", **first)  # compiles; those after it load what it kept
        self.spent = json.loads((root / "whole.spent").read_text())

    def train(self, name, kill=None, inside=None, after=0, delay=0.0, **more):
        """Trains, or goes on, in `name`; False where it was ended before its end.

        With `counts` it measures instead; see `forked`.
        """
        task = {"folder": str(self.root / name), "keys": self._keys, "kill": kill}
        task |= {"inside": inside, "after": after, "delay": delay}
        task |= {"signal": signal.SIGKILL, "devices": None, "counts": []} | more
        self._process.stdin.write(json.dumps(task) + "\n")
        self._process.stdin.flush()
        status, self.seconds_of_last = json.loads(self._process.stdout.readline())
        if status not in (0, -9, forked.STOPPED):
            raise AssertionError((self.root / f"{name}.log").read_text()[-3000:])
        return status == 0

    def close(self):
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()


def environment_of(root):
    """That of trainings which keep what they compile in `root`."""
    return os.environ | {
        "JAX_PLATFORMS": "cpu",
        "XDG_CACHE_HOME": str(root / "cache"),
        "PYTHONPATH": os.pathsep.join(sys.path),
    }


def checkpoint_of(folder):
    """All of the last checkpoint: parameters, statistics, EMA, optimizer, position."""
    saved = folder / layout.CHECKPOINTS / str(STEPS)
    arrays = {item: arrays_of(saved / item) for item in ("variables", "training")}
    position = json.loads((saved / "position" / layout.ITEM_JSON).read_text())
    return arrays | {"position": position}


def arrays_of(item):
    """Onto one device, whatever they were saved from."""
    handler = ocp.StandardCheckpointHandler()
    one = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    like = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=one),
        handler.metadata(item).tree,
    )
    return handler.restore(item, args=ocp.args.StandardRestore(like))


def assert_same(whole, cut):
    """Nothing shows that a run was cut: no bit, no row twice, none missing."""
    for name in (layout.METRICS, layout.NETWORK, layout.DATASET):
        assert (cut / name).read_bytes() == (whole / name).read_bytes(), name
    one, two = resseg.open_run(whole), resseg.open_run(cut)
    pd.testing.assert_frame_equal(one.gradients, two.gradients, check_exact=True)
    pd.testing.assert_frame_equal(one.blocks, two.blocks, check_exact=True)
    # A kill between a save and the removal of what it replaces leaves one more, which
    # the next save removes.
    assert set(one.steps) <= set(two.steps) and one.steps[-2:] == two.steps[-2:]
    states = checkpoint_of(whole), checkpoint_of(cut)
    jax.tree.map(np.testing.assert_array_equal, *states)
    jax.tree.map(np.testing.assert_array_equal, one.variables(), two.variables())
    pictures = [
        {p.name: p.read_bytes() for p in (folder / layout.PREDICTIONS).glob("*.png")}
        for folder in (whole, cut)
    ]
    assert pictures[0] == pictures[1] and len(pictures[0]) == 2
    left = [path for path in cut.rglob("*") if ".partial" in path.name]
    assert left == [] and not list(cut.rglob("*orbax-checkpoint-tmp*"))


def seed():
    return int(os.environ.get("RESSEG_FAULT_SEED") or random.randrange(2**32))
