"""A finished run as something that can be asked: config, classes, network, weights."""

import dataclasses
import functools
import hashlib
from typing import Any

import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from resseg import sharding
from resseg.blueprint.blueprint import Blueprint
from resseg.config.load import load_config
from resseg.models.network import SegmentationNetwork
from resseg.runs import Run, checkpoints
from resseg.runs.calibration import read_calibration

_LEARNED = ("params", "batch_stats")


@dataclasses.dataclass(frozen=True)
class Trained:
    """A network with its weights.

    Attributes:
        config: of the run.
        classes: names of the classes it was trained on.
        blueprint: of the network.
        variables: params, batch_stats and paths, on the host.
        step: the checkpoint they are of.
        weights: whose they are, for people.
        temperature: by which logits are divided before each softmax (`resseg
            calibrate`); 1 = as they were trained.
    """

    config: Any
    classes: tuple[str, ...]
    blueprint: Blueprint
    variables: dict[str, Any]
    step: int
    temperature: float = 1.0
    weights: str = ""

    @functools.cached_property
    def digest(self) -> str:
        """Of all that its predictions depend on, for one who keeps them."""
        known = hashlib.sha256(str(self.config.model).encode())
        known.update(f"{self.config.data.mean} {self.config.data.std}".encode())
        known.update(str(self.temperature).encode())
        for path, leaf in sorted(flatten_dict(self.variables).items()):
            known.update("/".join(path).encode())
            known.update(np.ascontiguousarray(leaf).tobytes())
        return known.hexdigest()

    @property
    def model(self) -> SegmentationNetwork:
        """The network."""
        return self.blueprint.model


def load_trained(run: Run, step: int | None = None) -> Trained:
    """The best checkpoint of a run if there is one, else the latest, or that of `step`.

    Raises:
        UserError: there is no such checkpoint, it is of another network than the config
            says, its temperature is damaged, or there is no device.
    """
    sharding.devices()
    step = checkpoints.choose_step(run.path, step)
    classes = run.classes
    calibration = read_calibration(run.path, step)
    config = load_config(run.path)  # keys younger than the run get their defaults
    blueprint = Blueprint.of(config, len(classes))
    learned = {name: blueprint.variables.get(name, {}) for name in _LEARNED}
    variables = checkpoints.restore_variables(run.path, step, learned)
    # Coefficients younger than the checkpoint start as they do now.
    now = flatten_dict(blueprint.paths(config))
    saved = flatten_dict(variables["paths"])
    return Trained(
        config=config,
        classes=classes,
        blueprint=blueprint,
        variables=variables | {"paths": unflatten_dict(now | saved)},
        step=step,
        weights=f"weights of step {step}",
        temperature=1.0 if calibration is None else calibration.temperature,
    )
