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
from resseg.runs.calibration import Calibration, write_calibrations
from resseg.runs.places import check_writable


def write_run(
    workdir: Path,
    config: Any,
    classes: list[str],
    variables: Mapping[str, Any],
    source: Mapping[str, Any],
    *,
    dataset: Mapping[str, Any] | None = None,
    calibration: Calibration | None = None,
) -> None:
    """Writes a run folder with a checkpoint of step 0, or nothing.

    Args:
        workdir: a new or empty folder.
        config: of the network.
        classes: of a segmentation network; none = `variables` are of a backbone.
        variables: params and batch_stats; paths as well, unless they are those of the
            config.
        source: where they are from; stored, and marks the folder as imported.
        dataset: what they were trained on, see `runs.dataset`; None = nobody knows.
        calibration: of the weights, at step 0.
    """
    check_writable(workdir)
    workdir.parent.mkdir(parents=True, exist_ok=True)
    # Under another name until all of it is there.
    partial = workdir.parent / f".{workdir.name}.{os.getpid()}.partial"
    partial.mkdir()
    try:
        runs.write_config(partial, config)
        known = {"name": config.data.name, "classes": classes}
        if dataset is None:
            known["splits"] = {}
        runs.write_dataset(partial, {**(dataset or {}), **known})
        runs.write_environment(partial, sharding.describe(sharding.make_mesh()))
        runs.write_json(partial / layout.IMPORTED, source)
        if calibration is not None:
            write_calibrations(partial, [calibration])
        checkpoints.save_variables(partial, _with_paths(variables, config, classes))
        os.replace(partial, workdir)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _with_paths(
    variables: Mapping[str, Any], config: Any, classes: list[str]
) -> dict[str, Any]:
    if "paths" in variables:
        return dict(variables)
    paths = coefficients(config, len(classes) or 1)
    if not classes:
        paths = {"backbone": paths["backbone"]}
    return {**variables, "paths": paths}


def coefficients(config: Any, num_classes: int) -> dict[str, Any]:
    """The `paths` collection of the network of `config`, on the host."""
    model = build_segmenter(config.model, num_classes)

    @jax.jit
    def init(key: jax.Array) -> Any:
        # The weights that `init` draws are used by nothing, so they are not computed.
        return model.init(key, jnp.zeros((1, 64, 64, 3)))["paths"]

    return jax.device_get(init(jax.random.key(0)))
