"""Restarts on other numbers of devices: the same images, and nothing but last bits.

`make test-faults` makes RESSEG_RESTARTS of them, at random moments, by SIGTERM or
SIGKILL, on 1, 2, 4 or 8 devices. The seed is printed; RESSEG_FAULT_SEED repeats it.
The everyday test is `test_four_devices_train_and_evaluate_as_one_does`.
"""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from trainings import KEYS, STEPS, Trainings, assert_same, environment_of, seed

import resseg
from resseg import runs

COUNTS = (1, 2, 4, 8)
SINGLE, DOUBLE = 1e-6, 1e-9  # bounds on the distance, of float32 and of float64
SETTINGS = KEYS | {
    "mesh.data": 0,
    "data.batch_size": 8,
    "data.eval_batch_size": 8,
    "data.shapes.val_images": 8,
    "checkpoint.keep_every": 3,
    # AdamW divides by what is next to nothing: it shows more of the order of sums.
    "optim.name": "sgd",
    "optim.learning_rate": 0.01,
}
pytestmark = pytest.mark.faults


@pytest.fixture(scope="module")
def trainings(tmp_path_factory):
    root = tmp_path_factory.mktemp("restarts")
    trainings = Trainings(root, environment_of(root), SETTINGS, devices=1)
    shutil.move(root / "whole", whole(root, 1))
    for count in COUNTS[1:]:
        assert trainings.train(whole(root, count).name, devices=count)
    yield trainings
    trainings.close()


def whole(root, count):
    return root / f"whole-{count}"


def restart(trainings, name, chance, counts, left):
    """Trains to the end through at most `left` cuts; how many there were."""
    made = 0
    while True:
        count = chance.choice(counts)
        fault = {}
        if made < left:
            kind = chance.choice([signal.SIGTERM, signal.SIGKILL])
            fault = {
                "kill": chance.uniform(0.2, 0.8) * trainings.seconds,
                "signal": kind,
            }
        if trainings.train(name, devices=count, **fault):
            return made
        made += 1


def assert_same_images(one, two):
    """By their hash, in their order; no row twice, none missing."""
    seen = [
        [(row["step"], row.get("batch_hash")) for row in runs.read_metrics(folder)]
        for folder in (one, two)
    ]
    assert seen[0] == seen[1] and len(seen[0]) > STEPS
    keys = ["step", "fork", "path"]
    tables = [resseg.open_run(folder).gradients[keys] for folder in (one, two)]
    pd.testing.assert_frame_equal(*tables)


def test_a_run_does_not_know_how_many_devices_it_has(trainings, capsys):
    left, number = int(os.environ.get("RESSEG_RESTARTS", "20")), seed()
    chance, total, farthest = random.Random(number), 0, 0.0
    trainings.train("timed", devices=8)
    trainings.seconds = trainings.seconds_of_last
    with capsys.disabled():
        print(f"RESSEG_FAULT_SEED={number}")
        for run in range(1000):
            # Every other run is always cut on one number: its bits are known.
            counts = [chance.choice(COUNTS)] if run % 2 else COUNTS
            name, folder = f"run{run}", trainings.root / f"run{run}"
            total += restart(trainings, name, chance, counts, min(left - total, 6))
            assert_same_images(whole(trainings.root, 1), folder)
            if len(counts) == 1:
                assert_same(whole(trainings.root, counts[0]), folder)
            else:
                farthest = max(farthest, step_distance(trainings, name))
            shutil.rmtree(folder)
            if total >= left and run:
                break
        print(f"{total} restarts, {run + 1} runs; one step apart: {farthest:.1e}")


def step_distance(trainings, name):
    """The largest after one step from any checkpoint of a run, on any count."""
    assert trainings.train(name, devices=8, counts=COUNTS)
    found = json.loads((trainings.root / f"{name}.distances").read_text())
    assert set(range(3, STEPS + 1, 3)) <= {int(step) for step in found}
    farthest = np.max(list(found.values()))
    assert farthest <= SINGLE
    return farthest


def test_in_float64_the_order_of_sums_is_all_there_is(trainings):
    """After 20 steps of AdamW, with averages and dropout."""
    keys = SETTINGS | {"optim.name": "adamw", "data.dir": str(trainings.root / "data")}
    config = resseg.load_config("quickstart", keys)
    (trainings.root / "wide").mkdir()
    runs.write_config(trainings.root / "wide", config)
    script = Path(__file__).with_name("wide.py")
    done = subprocess.run(
        [sys.executable, str(script), str(trainings.root / "wide"), "20"]
        + [str(count) for count in COUNTS],
        env=environment_of(trainings.root),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    distances = json.loads(done.stdout.splitlines()[-1])
    assert len(distances) == 3 and 0 < max(distances) <= DOUBLE
