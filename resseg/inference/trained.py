"""A finished run as something that can be asked: config, classes, network, weights."""

import dataclasses
from typing import Any

from flax.traverse_util import flatten_dict, unflatten_dict

from resseg.blueprint import network
from resseg.config.load import load_config
from resseg.gradients.fork import initial_paths
from resseg.models.segmenter import Segmenter
from resseg.runs import Run, checkpoints


@dataclasses.dataclass(frozen=True)
class Trained:
    """A network with its weights.

    Attributes:
        config: of the run.
        classes: names of the classes it was trained on.
        model: the network.
        variables: params, batch_stats and paths, on the host.
        step: the checkpoint they are of.
    """

    config: Any
    classes: tuple[str, ...]
    model: Segmenter
    variables: dict[str, Any]
    step: int


def load_trained(run: Run, step: int | None = None) -> Trained:
    """The best checkpoint of a run if there is one, else the latest, or that of `step`.

    Raises:
        UserError: there is no such checkpoint.
    """
    step = checkpoints.choose_step(run.path, step)
    classes = run.classes
    config = load_config(run.path)  # keys younger than the run get their defaults
    model = network.build_segmenter(config.model, len(classes))
    return Trained(
        config=config,
        classes=classes,
        model=model,
        variables=restore(run, model, step),
        step=step,
    )


def restore(run: Run, model: Segmenter, step: int | None = None) -> dict[str, Any]:
    """Variables of a checkpoint; coefficients younger than it start as they do now."""
    variables = checkpoints.restore_variables(run.path, step)
    now = flatten_dict(initial_paths(model, (1, 64, 64, 3)))
    saved = flatten_dict(variables["paths"])
    return variables | {"paths": unflatten_dict(now | saved)}
