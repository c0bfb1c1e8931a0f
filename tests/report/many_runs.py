"""Sweep folders for the page: finished runs with gradients, and some that are not."""

import json
from types import SimpleNamespace
from typing import Any

import numpy as np

from resseg.config.keys import base_config, flatten
from resseg.gradients.statistics import TapStatistics
from resseg.runs import RunWriter, write_json
from resseg.runs.gradients_table import rows
from resseg.sweeps.plan import read_plan

ALPHA, RATE = "model.gradient.shortcut", "optim.learning_rate"
ENVIRONMENT = {
    "git": {"commit": "a" * 40, "dirty": False},
    "packages": {"resseg": "0.1.0", "jax": "0.10.2"},
    "devices": {"kind": "cpu"},
    "earlier_starts": [],
}
FORKS = tuple(
    SimpleNamespace(
        name=f"backbone/stage{stage}/block{block}",
        kind="block",
        paths=("shortcut", "branch"),
        shape=(1, 2, 2, 1),
    )
    for stage in (1, 2, 3, 4)
    for block in (1, 2, 3, 4)
)


def score(alpha, rate, seed):
    """What a run scores: known, and different for every run."""
    return 0.5 + 0.2 * alpha + rate + 0.01 * ((7 * seed) % 5) * (1 + alpha)


def write_many(
    folder,
    alphas=(0.0, 0.5, 1.0),
    rates=(0.05, 0.1),
    seeds=3,
    *,
    steps=10,
    logged=10,
    forks=FORKS,
    study="many",
    question="Is it?\n\nPrediction: yes.",
    claims=(),
    texts=None,
    keep=lambda number: True,
):
    """A sweep folder of alphas × rates × seeds runs, as training leaves it.

    Args:
        folder: of the sweep, made.
        alphas, rates, seeds: values, and how many seeds.
        steps: of each run.
        logged: steps with a row in every log, the last among them.
        forks: of the network.
        study, question, claims: of the sweep.
        texts: values of config keys that all runs set.
        keep: whether the run of a number is trained; it waits otherwise.
    """
    wanted = [
        {ALPHA: alpha, RATE: rate, "seed": seed, **(texts or {})}
        for alpha in alphas
        for rate in rates
        for seed in range(seeds)
    ]
    (folder / "plans").mkdir(parents=True)
    runs = []
    for number, overrides in enumerate(wanted):
        config: Any = base_config()
        config.train.steps = steps
        with config.unlocked():
            config.update_from_flattened_dict(overrides)
        write_json(folder / "plans" / f"run{number:03}.json", config.to_dict())
        runs.append(
            {
                "id": f"run{number:03}",
                "overrides": overrides,
                "steps": steps,
                "structure": "s",
            }
        )
        if keep(number):
            _write_run(folder / f"run{number:03}", config, logged, forks)
    values = {
        "study": study,
        "question": question,
        "baseline": {ALPHA: 1.0},
        "claims": list(claims),
        "swept": [ALPHA, RATE, "seed", *(texts or {})],
        "code": "0.1.0",
        "runs": runs,
    }
    write_json(folder / "sweep.json", json.loads(json.dumps(values, default=list)))
    return read_plan(folder)


def _write_run(folder, config, logged, forks):
    folder.mkdir()
    write_json(folder / "config.json", config.to_dict())
    flat = flatten(config.to_dict())
    alpha, rate, seed = flat[ALPHA], flat[RATE], flat["seed"]
    write_json(folder / "environment.json", ENVIRONMENT)
    network = {"title": "net", "parameters": 1000, "macs": 2500, "image": [8, 8, 3]}
    write_json(folder / "network.json", network)
    attempt = {
        **{"started": 0.0, "ended": 60.0 + seed, "outcome": "finished"},
        **{"message": None, "host": "here", "process": 1},
    }
    write_json(folder / "status.json", {"attempts": [attempt]})
    steps = flat["train.steps"]
    with RunWriter(folder, tensorboard=False, resume_step=None) as writer:
        for step in np.linspace(1, steps, logged).round().astype(int).tolist():
            loss = 2 / step + 0.1 * seed
            writer.write_metrics(step, "train", {"loss": loss, "mean_iou": 0.1})
            writer.write_timing(step, {"images_per_second": 10.0})
            writer.write_gradients(step, rows(step, forks, _taps(forks, alpha), 4.0))
            if step == steps or step in (steps // 2, steps // 4):
                final = score(alpha, rate, seed) * step / steps
                writer.write_metrics(step, "val", {"mean_iou": final})


def _taps(forks, alpha):
    """Shares of the shortcut alpha : 1, and half the gradient at every block."""
    found = {}
    for depth, fork in enumerate(forks):
        total = 4.0 ** (depth - len(forks))
        parts = [total * alpha / (1 + alpha), total / (1 + alpha), total]
        found[fork.name] = TapStatistics(np.array([[part, 0, 0] for part in parts]))
    return found
