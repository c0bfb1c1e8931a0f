"""Trainings in processes of their own that start at once, to be killed at any moment.

    python -m faults.forked

It imports what a training needs, then reads tasks, a line of JSON each, and answers
each with a line. A task is trained by a fork: to JAX, which has not started anything
before, a process as any other.
"""

import contextlib
import functools
import json
import os
import shutil
import signal
import sys
import threading
import time
import warnings
from pathlib import Path

import jax
import numpy as np

import resseg
from resseg import sharding
from resseg.data import sources
from resseg.data.pipeline import TrainLoader
from resseg.runs import checkpoints, layout, storage, tables
from resseg.training import run as train
from resseg.training.program import Programs
from resseg.training.stops import STOPPING, Stop, Stopped, listen

STOPPED = 3  # exit status of a training that was asked to stop, and saved

WRITES = {"checkpoint": (storage, "save"), "parquet": (tables, "write_parquet")}


class Inside:
    """Kills its process inside a write: `after` calls, `delay` seconds into that."""

    def __init__(self, after, delay, note):
        self.after, self.delay, self.note = after, delay, note
        self.within = False

    def __call__(self, write, *arguments):
        self.after -= 1
        self.within = True
        if self.after == 0:
            threading.Thread(target=self._kill, daemon=True).start()
        try:
            write(*arguments)
        finally:
            self.within = False

    def _kill(self):
        time.sleep(self.delay)
        if self.within:
            Path(self.note).touch()
        os.kill(os.getpid(), signal.SIGKILL)


def timed(spent, write, *arguments):
    """Notes what a write takes, for kills that are to come inside one."""
    began = time.monotonic()
    write(*arguments)
    spent.append(time.monotonic() - began)


def replace(kind, around):
    """Has `around` called in the place of a write, with it as its first argument."""
    module, name = WRITES[kind]
    inner = functools.partial(around, getattr(module, name))
    for user in list(sys.modules.values()):
        with contextlib.suppress(AttributeError):
            if getattr(user, name) is getattr(module, name) and user is not module:
                setattr(user, name, inner)
    setattr(module, name, inner)


def work(task):
    """Does it, in the fork; what it says goes to a file beside the run folder."""
    log = os.open(f"{task['folder']}.log", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.dup2(log, 1)
    os.dup2(log, 2)
    if task["devices"] is not None:
        jax.config.update("jax_num_cpu_devices", task["devices"])
    if task["counts"]:
        measure(task)
    else:
        train_in(task)


def train_in(task):
    spent = {kind: [] for kind in WRITES}
    if task["inside"]:
        around = Inside(task["after"], task["delay"], f"{task['folder']}.inside")
        replace(task["inside"], around)
    else:
        for kind in WRITES:
            replace(kind, functools.partial(timed, spent[kind]))
    stop = Stop(lambda status, line: os._exit(status or STOPPED))
    listen(STOPPING, stop.ask)
    config = resseg.load_config("quickstart", task["keys"])
    try:
        train.train_and_evaluate(config, task["folder"], Programs(keeps=True), stop)
    except Stopped:
        os._exit(STOPPED)
    Path(f"{task['folder']}.spent").write_text(json.dumps(spent))


def measure(task):
    """How far one step from each kept checkpoint comes apart on several devices."""
    folder, counts = Path(task["folder"]), task["counts"]
    config = resseg.load_config(folder)
    spec, key = sources.dataset_spec(config.data), jax.random.key(config.seed)
    programs = {
        count: Programs(keeps=True)(config, spec, sharding.make_mesh(count))
        for count in counts
    }
    loader, found = TrainLoader(config.data, config.seed), {}
    for step in sorted(int(p.name) for p in (folder / layout.CHECKPOINTS).iterdir()):
        alone = Path(f"{folder}.alone")
        saved = layout.CHECKPOINTS + f"/{step}"
        shutil.copytree(folder / saved, alone / saved)
        with checkpoints.Checkpoints(alone) as checkpoint:
            blank = programs[counts[0]].begin(config)
            restored = checkpoint.restore(blank.variables(), blank.training())
        shutil.rmtree(alone)
        held = jax.device_get((restored.variables, restored.training))
        loader.restore(restored.position)
        batch, after = next(loader), []
        for count, program in programs.items():
            mesh = sharding.make_mesh(count)
            state = program.begin(config)
            state = state.restored(*jax.device_put(held, sharding.replicated(mesh)))
            put = sharding.put_batch(batch, sharding.by_batch(mesh))
            after.append(jax.device_get(program.step(state, put, key)[0].params))
        found[step] = [distance(after[0], other) for other in after[1:]]
    Path(f"{folder}.distances").write_text(json.dumps(found))


def distance(one, two):
    """Global relative difference of two trees of arrays."""
    pairs = [*zip(jax.tree.leaves(one), jax.tree.leaves(two), strict=True)]
    moved = sum(np.sum(np.square(a.astype(float) - b)) for a, b in pairs)
    return float(
        np.sqrt(moved / sum(np.sum(np.square(a, dtype=float)) for a, _ in pairs))
    )


def child(task):
    status = 1
    try:
        work(task)
        status = 0
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        os._exit(status)


def main():
    # Threads of libraries that were imported hold nothing that a training needs.
    warnings.filterwarnings("ignore", "This process .* is multi-threaded")
    for line in sys.stdin:
        task = json.loads(line)
        began = time.monotonic()
        number = os.fork()
        if number == 0:
            child(task)
        timer = None
        if task["kill"] is not None:
            fault = [number, task["signal"]]
            timer = threading.Timer(task["kill"], os.kill, fault)
            timer.start()
        _, status = os.waitpid(number, 0)
        if timer is not None:
            timer.cancel()
        code = os.waitstatus_to_exitcode(status)
        print(json.dumps([code, time.monotonic() - began]), flush=True)


if __name__ == "__main__":
    main()
