"""Steps on several numbers of devices, all in float64: how far they come apart.

    python tests/faults/wide.py FOLDER STEPS COUNT...

A training computes in float32 and has no float64. Here the name means the other, before
anything is imported that takes its default from it. Prints a line of JSON: the distance
of the parameters on each count of devices from those on the first.
"""

# ruff: noqa: E402  (what is imported takes its defaults from what is set before)
import json
import sys

import jax
import jax.numpy as jnp
import numpy as np

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_num_cpu_devices", 8)
jnp.float32 = jnp.float64

import resseg
from resseg import sharding
from resseg.data import sources
from resseg.data.pipeline import TrainLoader
from resseg.training.program import Programs


def distance(one, two):
    """Global relative difference of two trees of arrays."""
    leaves = [jax.tree.leaves(jax.device_get(tree)) for tree in (one, two)]
    moved = sum(np.sum(np.square(a - b)) for a, b in zip(*leaves, strict=True))
    return float(np.sqrt(moved / sum(np.sum(np.square(a)) for a in leaves[0])))


def trained(config, steps, devices):
    """Parameters after so many steps."""
    mesh = sharding.make_mesh(devices)
    program = Programs()(config, sources.dataset_spec(config.data), mesh)
    wider = lambda x: x.astype(np.float64) if x.dtype == np.float32 else x  # noqa: E731
    state = jax.device_put(
        jax.tree.map(wider, jax.device_get(program.begin(config))),
        sharding.replicated(mesh),
    )
    loader, key = TrainLoader(config.data, config.seed), jax.random.key(config.seed)
    for _ in range(steps):
        batch = sharding.put_batch(next(loader), sharding.by_batch(mesh))
        state, _ = program.step(state, batch, key)
    loader.close()
    assert {x.dtype for x in jax.tree.leaves(state.params)} == {np.dtype(np.float64)}
    return state.params


def main(folder, steps, *counts):
    config = resseg.load_config(folder)
    with config.unlocked():
        config.model.dtype = "float64"
    found = [trained(config, int(steps), int(count)) for count in counts]
    print(json.dumps([distance(found[0], other) for other in found[1:]]))


if __name__ == "__main__":
    main(*sys.argv[1:])
