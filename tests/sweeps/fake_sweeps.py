"""Sweep folders whose every number is known, without any training."""

import json
from types import SimpleNamespace

import numpy as np

from resseg.config.keys import flatten
from resseg.config.load import load_config
from resseg.gradients.statistics import TapStatistics
from resseg.runs import RunWriter, write_json
from resseg.runs.gradients_table import rows
from resseg.sweeps.plan import read_plan

BASE = "base"
KIND = "model.shortcut.kind"
ENVIRONMENT = {
    "git": {"commit": "a" * 40, "dirty": False},
    "packages": {"resseg": "0.1.0", "jax": "0.10.2"},
    "devices": {"kind": "cpu"},
    "earlier_starts": [],
}
STEPS = 10


def write_sweep(folder, wanted, *, baseline=None, claims=(), study="fake"):
    """A sweep folder of runs that wait; `wanted` is a list of (id, overrides)."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "plans").mkdir(exist_ok=True)
    keys = {key for _, overrides in wanted for key in overrides} | set(baseline or {})
    for name, overrides in wanted:
        write_json(folder / "plans" / f"{name}.json", config(overrides))
    values = {
        "study": study,
        "question": "Is it?",
        "baseline": baseline or {},
        "claims": list(claims),
        "swept": sorted(keys),
        "code": "0.1.0",
        "runs": [
            {"id": name, "overrides": overrides, "steps": STEPS, "structure": "s"}
            for name, overrides in wanted
        ],
    }
    write_json(folder / "sweep.json", json.loads(json.dumps(values, default=list)))
    return read_plan(folder)


def config(overrides):
    return load_config(BASE, {"train.steps": STEPS, **overrides}).to_dict()


def begin(run, plan, environment=ENVIRONMENT, **changed):
    """A run folder with its config, as training leaves it at its start."""
    run.folder.mkdir()
    stored = json.loads((plan.folder / "plans" / f"{run.id}.json").read_text())
    for key, value in changed.items():
        section = stored
        *sections, leaf = key.split("__")
        for name in sections:
            section = section[name]
        section[leaf] = value
    write_json(run.folder / "config.json", stored)
    write_json(run.folder / "environment.json", environment)
    network = {"title": "net", "parameters": 1000, "macs": 2500000, "image": [8, 8, 3]}
    write_json(run.folder / "network.json", network)
    return RunWriter(run.folder, tensorboard=False, resume_step=None)


def finish(run, plan, score, losses=(1.0,), gradients=None, **more):
    """A run that was evaluated at its last step."""
    with begin(run, plan, **more) as writer:
        for step, loss in enumerate(losses, STEPS - len(losses) + 1):
            writer.write_metrics(step, "train", {"loss": loss, "mean_iou": 0.9})
            writer.write_timing(step, {"images_per_second": 10.0 * step})
        for step, statistics in gradients or ():
            taps = {name: TapStatistics(array) for name, array in statistics.items()}
            writer.write_gradients(step, rows(step, FORKS, taps, 4.0))
        writer.write_metrics(STEPS // 2, "val", {"mean_iou": 0.01, "iou": [0.0]})
        scores = score if isinstance(score, dict) else {"mean_iou": score}
        writer.write_metrics(STEPS, "val", scores)


def attempt(run, *outcomes, seconds=60.0, **more):
    """Writes status.json: attempts of a minute each; an outcome None has no end."""
    attempts = [
        {
            "started": 1000.0 * number,
            "ended": None if outcome is None else 1000.0 * number + seconds,
            "outcome": outcome,
            "message": "ValueError: it broke" if outcome == "failed" else None,
            "host": "here",
            "process": 1,
            **({} if outcome is None else more),
        }
        for number, outcome in enumerate(outcomes)
    ]
    run.folder.mkdir(exist_ok=True)
    write_json(run.folder / "status.json", {"attempts": attempts})


def _fork(name, *paths):
    return SimpleNamespace(name=name, kind="block", paths=paths, shape=(1, 2, 2, 1))


FORKS = (_fork("stage1/block1", "shortcut", "branch"), _fork("stage2/block1", "branch"))


def taps(shortcut, branch, total, last):
    """Sums of squares: of the first block's paths and total, and of the last block."""
    return {
        "stage1/block1": np.array([[shortcut, 0, 0], [branch, 0, 0], [total, 0, 0]]),
        "stage2/block1": np.array([[last, 0, 0], [last, 0, 0]]),
    }


def flat(overrides):
    """The resolved config by key."""
    return flatten(load_config(BASE, overrides))
