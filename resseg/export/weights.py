"""Weights as .safetensors, which `resseg import` makes a run of again."""

from pathlib import Path

import numpy as np

from resseg.export.comparison import alone
from resseg.export.format import Format, Run
from resseg.export.network import PROBABILITIES, ExportedNetwork
from resseg.interop.own import read_own, write_own

FILE = "model.safetensors"


def check(network: ExportedNetwork) -> None:
    """Nothing can be missing."""


def write(network: ExportedNetwork, path: Path) -> None:
    """Writes every variable, and what makes them a network."""
    write_own(path, network.trained, network.dataset, network.calibration)


def load(path: Path) -> Run:
    """The network that the file describes: images -> classes and probabilities."""
    segment = alone(read_own(path).trained)

    def run(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        found = list(segment.batch(list(images)))
        masks, values = zip(*found, strict=True)
        return np.stack(masks), np.stack(values)

    return run


def snippet(network: ExportedNetwork) -> str:
    """How it becomes a run."""
    return f"resseg import {FILE} --workdir runs/imported\n"


SAFETENSORS = Format(
    file=FILE,
    contract="weights, config and classes; to bits what the checkpoint holds",
    check=check,
    write=write,
    load=load,
    snippet=snippet,
    scores=PROBABILITIES,  # what `load` runs puts out
    single=False,
)
