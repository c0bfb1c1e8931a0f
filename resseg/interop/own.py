"""Weights of resseg's own, with all that makes them a network: .safetensors."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from resseg import text
from resseg.blueprint.blueprint import Blueprint
from resseg.config.keys import without_folders
from resseg.config.load import load_config
from resseg.errors import UserError, some
from resseg.inference.trained import Trained
from resseg.interop.files import read_notes, read_weights, write_weights
from resseg.runs.calibration import Calibration, checked

FORMAT = "resseg"  # what such a file says it is
COLLECTIONS = ("params", "batch_stats", "paths")
_NOTES = ("config", "classes", "dataset", "calibration", "step")


class Weights(NamedTuple):
    """What such a file holds.

    Attributes:
        trained: the network and its weights.
        dataset: what it was trained on, see `resseg.runs.dataset`.
        calibration: of its temperature; None = nobody fitted one.
    """

    trained: Trained
    dataset: dict[str, Any]
    calibration: Calibration | None


def write_own(
    path: Path,
    trained: Trained,
    dataset: Mapping[str, Any],
    calibration: Calibration | None,
) -> None:
    """Writes every variable under its name, and the rest as JSON beside them.

    Folders of this machine that the config names are left out.
    """
    tensors = flatten_dict({name: trained.variables[name] for name in COLLECTIONS})
    notes = {
        "config": without_folders(trained.config),
        "classes": list(trained.classes),
        "dataset": dict(dataset),
        "calibration": calibration and calibration._asdict(),
        "temperature": trained.temperature,
        "step": trained.step,
    }
    texts = {name: json.dumps(value) for name, value in notes.items()}
    arrays = {"/".join(names): np.asarray(leaf) for names, leaf in tensors.items()}
    write_weights(path, arrays, {"format": FORMAT, **texts})


def read_own(path: str | Path) -> Weights:
    """The network of a file.

    Raises:
        UserError: it is damaged, or its tensors are not those of its config.
    """
    notes = read_notes(path)
    try:
        config, classes, dataset, calibration, step = (
            text.parse_json(notes[name]) for name in _NOTES
        )
        calibration = calibration and checked(calibration)
        config = load_config("base", {**config})
        classes, dataset, step = tuple(map(str, classes)), dict(dataset), int(step)
        if not classes:
            raise ValueError("a network without classes")
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path}: holds other notes than resseg writes") from error
    blueprint = Blueprint.of(config, len(classes))
    arrays = read_weights(path)
    _check(path, arrays, blueprint, config)
    trained = Trained(
        config=config,
        classes=classes,
        blueprint=blueprint,
        variables={name: {} for name in COLLECTIONS}
        | unflatten_dict(
            {tuple(name.split("/")): array for name, array in arrays.items()}
        ),
        step=step,
        temperature=calibration.temperature if calibration else 1.0,
    )
    return Weights(trained, dataset, calibration)


def _check(
    path: str | Path, arrays: Mapping[str, np.ndarray], blueprint: Blueprint, config
) -> None:
    """That all tensors are there, of their shapes, and no other."""
    wanted: dict[str, Any] = {
        name: blueprint.variables.get(name, {}) for name in COLLECTIONS
    }
    wanted["paths"] = blueprint.paths(config)
    shapes = {
        "/".join(names): np.shape(leaf)  # pyright: ignore[reportArgumentType, reportCallIssue]
        for names, leaf in flatten_dict(wanted).items()
    }
    missing, more = sorted({*shapes} - {*arrays}), sorted({*arrays} - {*shapes})
    if missing or more:
        parts = [
            f"{word} {some(names, 4)}"
            for word, names in (("without", missing), ("with", more))
            if names
        ]
        raise UserError(f"{path}: not of the network of its config: {'; '.join(parts)}")
    for name, shape in shapes.items():
        if arrays[name].shape != shape:
            raise UserError(
                f"{path}: {name} has the shape {arrays[name].shape}, its config "
                f"expects {shape}"
            )
