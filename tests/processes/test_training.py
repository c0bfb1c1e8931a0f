"""Two processes of two devices each train a run, on loopback: as one of four does.

`make test-faults` runs these; what processes say to each other is tested everywhere.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest
from tiny import tiny_shapes

from resseg import runs
from resseg.runs import layout

pytestmark = pytest.mark.faults
STEPS, TIMEOUT = 8, 600  # s, on a busy machine
SETTINGS = {
    "data.batch_size": 8,
    "data.eval_batch_size": 8,
    "data.shapes.train_images": 16,
    "data.shapes.val_images": 6,  # no multiple of the devices
    "model.backbone.width": 8,
    "model.backbone.stage_sizes": (1, 1),
    "model.backbone.stage_strides": (2, 2),
    "model.backbone.output_stride": 4,
    "optim.name": "sgd",
    "optim.learning_rate": 0.01,
    "train.steps": STEPS,
    "checkpoint.every": 2,
    "eval.every": 4,
    "eval.predictions": 2,
    "log.every": 1,
}
ENDLESS = {"train.steps": 100_000, "checkpoint.every": 10_000, "eval.every": 0}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("processes")


@pytest.fixture
def start(root):
    """Starts trainings; whatever still runs at the end is ended."""
    started = []

    def start(*arguments, **settings):
        started.append(Training(root, *arguments, **settings))
        return started[-1]

    yield start
    for process in (process for each in started for process in each.processes):
        process.kill()
        process.wait()


class Training:
    """`resseg train` in one or several processes, which share four devices."""

    def __init__(self, root, name, processes=2, code="", **settings):
        self.root, self.folder = root, root / name
        keys = tiny_shapes(root / "data") | SETTINGS | settings
        words = [f"--config.{k}={_text(value)}" for k, value in keys.items()]
        command = ["train", "--config", "quickstart", "--workdir", str(self.folder)]
        with socket.create_server(("", 0)) as server:
            address = f"127.0.0.1:{server.getsockname()[1] - 1}"
        start = [sys.executable, "-m", "resseg"]
        if code:
            start = [sys.executable, "-c", f"{code}\nfrom resseg.cli.main import *\n"]
            start[-1] += "sys.exit(main())"
        environment = environment_of(4 // processes)
        self.logs = [root / f"{name}.{i}" for i in range(processes)]
        self.processes = []
        for i, log in enumerate(self.logs):
            several = [
                "--coordinator",
                address,
                "--processes",
                "2",
                "--process",
                str(i),
            ]
            with log.open("w") as out:
                self.processes.append(
                    subprocess.Popen(
                        [*start, *command, *words, *several * (processes > 1)],
                        env=environment | {"NUMBER": str(i)},
                        stdout=out,
                        stderr=subprocess.STDOUT,
                    )
                )

    def reach(self, step):
        """Waits for a line of the log."""
        until = time.monotonic() + TIMEOUT
        while not any(row["step"] >= step for row in runs.read_metrics(self.folder)):
            assert time.monotonic() < until and self.processes[0].poll() is None, (
                self.said(0)
            )
            time.sleep(0.05)

    def end(self, *numbers):
        """Statuses."""
        wanted = numbers or range(len(self.processes))
        return [self.processes[number].wait(TIMEOUT) for number in wanted]

    def said(self, number):
        return self.logs[number].read_text()


def environment_of(devices):
    flag = f"--xla_force_host_platform_device_count={devices}"
    return os.environ | {
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": f"{os.environ['XLA_FLAGS']} {flag}",
        "PYTHONPATH": os.pathsep.join(sys.path),
    }


def _text(value):
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


@pytest.mark.parametrize("space", [1, 2])
def test_two_processes_train_as_one_does(start, space):
    """Each reads its part; sums over processes have an order of their own."""
    keys = {"mesh.space": space}
    one, two = start(f"one{space}", 1, **keys), start(f"two{space}", **keys)
    assert one.end() == [0] and two.end() == [0, 0], two.said(0)
    rows = [runs.read_metrics(each.folder) for each in (one, two)]
    assert len(rows[0]) == STEPS + 2
    for number, (alone, shared) in enumerate(zip(*rows, strict=True)):
        assert alone.keys() == shared.keys()
        for name in ("step", "split", "batch_hash"):
            assert alone.get(name) == shared.get(name)
        for name in alone.keys() - {"split", "batch_hash"}:
            # A pixel or two may fall on the other side later.
            rtol, atol = (1e-3, 0.01) if number else (1e-5, 1e-6)
            np.testing.assert_allclose(alone[name], shared[name], rtol, atol, name)
    index = f"{layout.PREDICTIONS}/{layout.PREDICTION_INDEX}"
    indices = [json.loads((each.folder / index).read_text()) for each in (one, two)]
    names = [[image["name"] for image in index["images"]] for index in indices]
    assert names[0] == names[1] and len(names[0]) == 6
    assert "step" not in two.said(1)  # the first alone speaks
    saved = two.folder / layout.CHECKPOINTS / str(STEPS)
    sums = ["sha256sum", "--quiet", "--check", layout.CHECKSUMS]
    assert subprocess.run(sums, cwd=saved, check=False).returncode == 0


def test_an_image_is_on_devices_of_one_process(start):
    training = start("across", **{"mesh.space": 4, "mesh.data": 1})
    assert training.end() == [2, 2]
    for number in (0, 1):
        assert "config.mesh.space=4: expected a divisor of 2" in training.said(number)


def test_the_newest_checkpoint_that_is_whole_is_used_by_all(start):
    training = start("damaged")
    assert training.end() == [0, 0]
    saved = training.folder / layout.CHECKPOINTS / str(STEPS)
    largest = max(saved.rglob("d/*"), key=lambda path: path.stat().st_size)
    content = bytearray(largest.read_bytes())
    content[len(content) // 2] ^= 1
    largest.write_bytes(content)
    again = start("damaged")
    assert again.end() == [0, 0], again.said(0)
    assert f"checkpoints/{STEPS}: damaged checkpoint" in again.said(0)
    assert f"the run goes on from step {STEPS - 2}" in again.said(0)
    assert "damaged" not in again.said(1)
    rows = [r for r in runs.read_metrics(again.folder) if r["split"] == "train"]
    assert [row["step"] for row in rows] == [*range(1, STEPS + 1)]


SLOW = """
import os, time
from resseg.training import run
dispatch, waited = run.Alone.dispatch, []
def slow(alone, batch):
    if os.environ["NUMBER"] == "1" and not waited:
        waited.append(time.sleep(40))
    return dispatch(alone, batch)
run.Alone.dispatch = slow
"""


def test_one_that_compiles_longer_is_waited_for(start):
    """XLA itself waits for 30 s, where devices have not met before."""
    training = start("slow", code=SLOW, **{"eval.every": 0, "train.steps": 2})
    assert training.end() == [0, 0], training.said(0)


@pytest.mark.parametrize("killed", [0, 1])
def test_one_that_is_killed_ends_the_other_which_says_who(start, killed):
    """And the same command goes on."""
    name = f"killed{killed}"
    training = start(name, **{"train.steps": 400, "eval.every": 0})
    training.reach(4)
    training.processes[killed].kill()
    began = time.monotonic()
    assert training.end(1 - killed) == [75]
    assert time.monotonic() - began < 10
    *_, line = training.said(1 - killed).splitlines()
    assert line.startswith(
        f"resseg: process {killed} ({training.processes[killed].pid}"
    )
    again = start(name, **{"train.steps": 400, "eval.every": 0})
    again.reach(8)
    for process in again.processes:
        process.terminate()
    assert again.end() == [0, 0] and "resumed at step" in again.said(0)
    steps = [row["step"] for row in runs.read_metrics(again.folder)]
    assert steps == [*range(1, len(steps) + 1)]


@pytest.mark.parametrize("stuck", [0, 1])
def test_one_that_is_stuck_ends_the_other_which_says_who(start, stuck):
    settings = ENDLESS | {"train.stall_seconds": 5.0}
    training = start(f"stuck{stuck}", **settings)
    training.reach(3)
    training.processes[stuck].send_signal(signal.SIGSTOP)
    began = time.monotonic()
    assert training.end(1 - stuck) == [75]
    assert time.monotonic() - began < 60
    *_, line = training.said(1 - stuck).splitlines()
    assert line.startswith("resseg: stalled: waited 0:0")
    assert f" for process {stuck} ({training.processes[stuck].pid}" in line


def test_a_signal_to_one_stops_all_at_the_same_step(start):
    training = start("stopped", **ENDLESS)
    training.reach(3)
    training.processes[1].terminate()
    assert training.end() == [0, 0]
    *_, line = training.said(0).splitlines()
    last = runs.read_metrics(training.folder)[-1]["step"]
    assert line.startswith(f"stopped at step {last} of ")
    assert (training.folder / layout.CHECKPOINTS / str(last)).is_dir()


POISON = """
import os, sys
from resseg.data import pipeline
draw = pipeline.TrainLoader.__next__
def poisoned(loader):
    batch = draw(loader)
    if loader.number == 2 and os.environ["NUMBER"] == "1":
        batch["image"][:] = float("nan")
    return batch
pipeline.TrainLoader.__next__ = poisoned
"""


def test_a_nan_of_one_is_seen_by_all_and_traced(start):
    """Its autopsy says on whose device, and one process takes the step again."""
    training = start("poisoned", code=POISON)
    assert training.end() == [1, 1]
    lines = [training.said(number).splitlines()[-1] for number in (0, 1)]
    assert lines[0] == lines[1] and lines[0].startswith("resseg: step 3: loss nan")
    first = "image 4 of the batch (device 2 of 4): "
    assert f"; autopsy: {first}" in lines[0], training.said(0)
    again = subprocess.run(
        [sys.executable, "-m", "resseg", "autopsy", str(training.folder)],
        env=environment_of(4),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    assert f"first: {first}" in again.stdout
    assert "when it stopped" not in again.stdout  # it finds the same


def test_what_differs_between_processes_is_named(start):
    code = "import os, sys\nsys.argv.append('--config.seed=' + os.environ['NUMBER'])"
    training = start("differing", code=code)
    assert training.end() == [2, 2]
    for number in (0, 1):
        assert "process 1 has config.seed 1, process 0 0" in training.said(number)
