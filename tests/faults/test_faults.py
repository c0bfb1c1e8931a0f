"""Kills at random moments: a run goes on to the bits of one that nobody disturbed.

`make test-faults` makes RESSEG_FAULTS kills, a fifth of them inside the write of a
checkpoint or of a part of a table; the everyday test makes one inside each. The seed is
printed; RESSEG_FAULT_SEED repeats it.
"""

import json
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import orbax.checkpoint as ocp
import pandas as pd
import pytest

import resseg
from resseg.runs import layout

STEPS = 24
KILLS = 8  # of one run, until it is let go on to its end
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

    def __init__(self, root, environment):
        self.root = root
        self._keys = KEYS | {"data.dir": str(root / "data")}
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("forked.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            text=True,
        )
        self.train("whole")  # compiles; those after it load what it kept
        self.spent = json.loads((root / "whole.spent").read_text())

    def train(self, name, kill=None, inside=None, after=0, delay=0.0):
        """Trains, or goes on, in `name`; False where it was killed before its end."""
        task = {"folder": str(self.root / name), "keys": self._keys, "kill": kill}
        task |= {"inside": inside, "after": after, "delay": delay}
        self._process.stdin.write(json.dumps(task) + "\n")
        self._process.stdin.flush()
        status, self.seconds_of_last = json.loads(self._process.stdout.readline())
        if status not in (0, -9):
            raise AssertionError((self.root / f"{name}.log").read_text()[-3000:])
        return status == 0

    def close(self):
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()


@pytest.fixture(scope="module")
def trainings(tmp_path_factory):
    root = tmp_path_factory.mktemp("faults")
    environment = os.environ | {
        "JAX_PLATFORMS": "cpu",
        "XDG_CACHE_HOME": str(root / "cache"),
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    trainings = Trainings(root, environment)
    yield trainings
    trainings.close()


def checkpoint_of(folder):
    """All of the last checkpoint: parameters, statistics, EMA, optimizer, position."""
    saved = folder / layout.CHECKPOINTS / str(STEPS)
    handler = ocp.StandardCheckpointHandler()
    arrays = {item: handler.restore(saved / item) for item in ("variables", "training")}
    position = json.loads((saved / "position" / layout.ITEM_JSON).read_text())
    return arrays | {"position": position}


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


def random_kill(trainings, chance, inside, seconds):
    """What to do to the next process of a run."""
    if not inside:
        return {"kill": chance.uniform(0.1, 0.9) * seconds}
    kind = chance.choice(["checkpoint", "parquet"])
    return inside_kill(trainings, kind, chance) | {"after": chance.randrange(1, 4)}


def inside_kill(trainings, kind, chance):
    """One inside the first write of a kind."""
    seconds = sorted(trainings.spent[kind])[len(trainings.spent[kind]) // 2]
    delay = chance.uniform(0, 0.8) * seconds
    return {"inside": kind, "after": 1, "delay": delay}


def survive(trainings, kills, chance):
    """Kills runs until `kills` kills are made; counts them by where they came."""
    counts = {"random": 0, "checkpoint": 0, "parquet": 0, "runs": 0}
    trainings.train("timed")
    seconds = trainings.seconds_of_last
    # A fifth, and no fewer, come inside a write.
    kinds = [number % 5 == 1 for number in range(kills)]
    chance.shuffle(kinds)
    while kinds:
        name = f"run{counts['runs']}"
        counts["runs"] += 1
        for _ in range(KILLS):
            if not kinds:
                break
            fault = random_kill(trainings, chance, kinds[-1], seconds)
            if trainings.train(name, **fault):
                break  # it was done before: another run
            note = trainings.root / f"{name}.inside"
            kind = fault.get("inside")
            if kind is not None and not note.exists():
                counts["random"] += 1  # the write was over: not one of the fifth
                continue
            note.unlink(missing_ok=True)
            counts[kind or "random"] += 1
            kinds.pop()
        while not trainings.train(name):
            pass
        assert_same(trainings.root / "whole", trainings.root / name)
        shutil.rmtree(trainings.root / name)
    return counts


def seed():
    return int(os.environ.get("RESSEG_FAULT_SEED") or random.randrange(2**32))


def test_a_run_survives_a_kill_inside_each_write(trainings):
    number = seed()
    print(f"RESSEG_FAULT_SEED={number}")
    for kind in ("checkpoint", "parquet"):
        fault = inside_kill(trainings, kind, random.Random(number))
        assert not trainings.train("run", **fault)
    assert trainings.train("run")
    assert_same(trainings.root / "whole", trainings.root / "run")


@pytest.mark.faults
def test_a_run_survives_a_hundred_kills(trainings, capsys):
    kills, number = int(os.environ.get("RESSEG_FAULTS", "100")), seed()
    with capsys.disabled():
        print(f"RESSEG_FAULT_SEED={number}")
        counts = survive(trainings, kills, random.Random(number))
        print(f"{kills} kills survived: {counts}")
