"""Run folders whose weights were drawn: what prediction needs, in no time."""

import jax
import numpy as np

from resseg import runs
from resseg.blueprint.blueprint import Blueprint
from resseg.config.load import load_config
from resseg.runs.checkpoints import Checkpoints

CLASSES = ("background", "disc", "wire")
TINY = {
    "data.name": "none",
    "data.eval_batch_size": 2,
    "data.crop": (32, 32),
    "model.backbone.stem": "3x3",
    "model.backbone.stage_sizes": (1, 1),
    "model.backbone.stage_strides": (2, 2),
    "model.backbone.width": 4,
    "model.backbone.output_stride": 4,
}


def drawn(config, seed, classes=CLASSES):
    """Variables of the network of a config, every weight and statistic drawn."""
    blueprint = Blueprint.of(config, len(classes))
    rng = np.random.default_rng(seed)
    shapes = jax.eval_shape(blueprint.drawing(), jax.random.key(0))
    variables = jax.tree.map(
        lambda leaf: rng.normal(size=leaf.shape).astype(leaf.dtype),
        {"params": shapes["params"], "batch_stats": shapes["batch_stats"]},
    )
    variables["batch_stats"] = jax.tree.map(np.abs, variables["batch_stats"])
    return variables | {"paths": blueprint.paths(config)}


def write(folder, seeds=(0,), classes=CLASSES, bits=8, **keys):
    """A run folder with a checkpoint for each seed, of steps 1, 2 …"""
    config = load_config("quickstart", TINY | keys)
    folder.mkdir(parents=True)
    runs.write_config(folder, config)
    known = {"name": "none", "classes": list(classes), "splits": {}, "bits": bits}
    runs.write_dataset(folder, known)
    with Checkpoints(folder, keep_every=1) as checkpoints:
        for step, seed in enumerate(seeds, 1):
            variables = drawn(config, seed, classes)
            checkpoints.save(step, variables, {"step": np.int32(step)}, {})
    return folder
