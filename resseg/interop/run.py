"""Converted weights -> a run folder."""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from resseg import runs, sharding
from resseg.blueprint.network import build_segmenter
from resseg.runs import checkpoints, layout
from resseg.runs.places import check_writable


def write_run(
    workdir: Path,
    config: Any,
    classes: list[str],
    variables: Mapping[str, Any],
    source: Mapping[str, Any],
) -> None:
    """Writes a run folder with a checkpoint of step 0, or nothing.

    Args:
        workdir: a new or empty folder.
        config: of the network.
        classes: of a segmentation network; none = `variables` are of a backbone.
        variables: params and batch_stats.
        source: where they are from; stored, and marks the folder as imported.
    """
    check_writable(workdir)
    workdir.parent.mkdir(parents=True, exist_ok=True)
    # Under another name until all of it is there.
    partial = workdir.parent / f".{workdir.name}.{os.getpid()}.partial"
    partial.mkdir()
    try:
        runs.write_config(partial, config)
        known = {"name": config.data.name, "classes": classes, "splits": {}}
        runs.write_dataset(partial, known)
        runs.write_environment(partial, sharding.describe(sharding.make_mesh()))
        runs.write_json(partial / layout.IMPORTED, source)
        paths = coefficients(config, len(classes) or 1)
        if not classes:
            paths = {"backbone": paths["backbone"]}
        checkpoints.save_variables(partial, {**variables, "paths": paths})
        os.replace(partial, workdir)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def coefficients(config: Any, num_classes: int) -> dict[str, Any]:
    """The `paths` collection of the network of `config`, on the host."""
    model = build_segmenter(config.model, num_classes)

    @jax.jit
    def init(key: jax.Array) -> Any:
        # The weights that `init` draws are used by nothing, so they are not computed.
        return model.init(key, jnp.zeros((1, 64, 64, 3)))["paths"]

    return jax.device_get(init(jax.random.key(0)))
