"""Reads a run folder, finished or still growing."""

import math
import os
import shlex
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ml_collections import FrozenConfigDict

from resseg.errors import UserError, choose, nearest
from resseg.runs import layout
from resseg.runs.dataset import read_dataset
from resseg.runs.folder import read_config
from resseg.runs.gradients_table import BLOCK_COLUMNS, COLUMNS
from resseg.runs.json_files import read_json, read_lines
from resseg.runs.ledger import read_pace
from resseg.runs.parts import read_parts
from resseg.text import parse_json

if TYPE_CHECKING:
    # A training never needs it, and it takes a quarter of a second.
    import pandas as pd


def open_run(path: str | os.PathLike) -> "Run":
    """Opens a run folder.

    Raises:
        UserError: The folder is missing or holds no run.

    Example:
        >>> run = open_run("runs/nuclei")  # doctest: +SKIP
        >>> run.gradients.query("fork == 'backbone/stage1/block1'")  # doctest: +SKIP
    """
    folder = Path(path)
    if not (folder / layout.CONFIG).is_file():
        runs = sorted(file.parent for file in folder.parent.glob(f"*/{layout.CONFIG}"))
        inside = sorted(file.parent for file in folder.glob(f"*/{layout.CONFIG}"))
        hint = f" (try {inside[0]})" if inside else nearest(folder, runs)
        what = f"holds no {layout.CONFIG}" if folder.exists() else "does not exist"
        raise UserError(f"{folder} is not a run folder: it {what}{hint}")
    return Run(folder)


def read_metrics(path: str | os.PathLike) -> list[dict[str, Any]]:
    """The lines of `metrics.jsonl` so far, as they were written."""
    file = Path(path) / layout.METRICS
    return read_lines(file) if file.exists() else []


def read_evaluations(path: str | os.PathLike) -> list[dict[str, Any]]:
    """Those lines of `metrics.jsonl` that are of evaluations."""
    return [row for row in read_metrics(path) if row["split"] == "val"]


class Run:
    """A run folder. Each table is read once, when it is first asked for."""

    def __init__(self, path: Path):
        self.path = path

    def __repr__(self) -> str:
        return f"Run({os.fspath(self.path)!r})"

    @cached_property
    def config(self) -> FrozenConfigDict:
        """The resolved config it was trained with."""
        return read_config(self.path)

    @cached_property
    def environment(self) -> dict[str, Any]:
        """Versions, devices and commit of the last start, and the earlier starts."""
        return read_json(self.path / layout.ENVIRONMENT)

    @cached_property
    def dataset(self) -> dict[str, Any]:
        """What its data set was, see `resseg.runs.dataset`; empty where it is old."""
        return read_dataset(self.path)

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes it was trained on, by class index.

        Raises:
            UserError: It is an imported backbone, which has none.
        """
        classes = tuple(read_json(self.path / layout.DATASET)["classes"])
        if not classes:
            raise UserError(
                f"{self.path} holds a backbone without a segmentation head: train one "
                f"on it with {shlex.quote(f'--config.init.backbone_from={self.path}')}"
            )
        return classes

    @cached_property
    def bits(self) -> int | None:
        """Bits in use by images of more than 8 in the data it was trained on.

        8 where it had none; None where nobody recorded it.
        """
        return read_json(self.path / layout.DATASET).get("bits")

    @cached_property
    def metrics(self) -> "pd.DataFrame":
        """One row per line: step, split, then every value that any line names.

        Step n of a training row is the nth update, measured on the nth batch before it
        is made; an evaluation of step n (split "val") is of what n updates made.

        A value that a line does not name is NaN, as is one that was NaN: look at one
        split at a time. `batch_hash` of a training row is text, equal where two steps
        saw the same batch; runs of earlier versions lack it.
        """
        return _frame(read_lines(self.path / layout.METRICS), ["step", "split"])

    @cached_property
    def timing(self) -> "pd.DataFrame":
        """One row per line: step, then what the clock said."""
        return _frame(read_pace(self.path), ["step"])

    @cached_property
    def gradients(self) -> "pd.DataFrame":
        """One row per step, fork and path, in that order; see `COLUMNS`."""
        return self.read_gradients()

    def read_gradients(self, columns: Sequence[str] | None = None) -> "pd.DataFrame":
        """The gradient log, or some of its columns: a long log has many rows."""
        return read_parts(self.path / layout.GRADIENTS, COLUMNS, columns)

    @cached_property
    def blocks(self) -> "pd.DataFrame":
        """One row per step and block: norms of parameters, gradients and updates."""
        return read_parts(self.path / layout.BLOCKS, BLOCK_COLUMNS)

    @property
    def steps(self) -> list[int]:
        """The steps whose weights are there now: the latest, the kept and the best."""
        folders = (layout.CHECKPOINTS, layout.BEST)
        saved = [step for name in folders for step in (self.path / name).glob("*")]
        return sorted({int(step.name) for step in saved if step.name.isdigit()})

    @cached_property
    def parameter_count(self) -> int | None:
        """Learned numbers of the network; None where no checkpoint describes them."""
        for name in (layout.CHECKPOINTS, layout.BEST):
            for index in sorted((self.path / name).glob(f"*/{layout.WEIGHTS_INDEX}")):
                count = _parameters(index)
                if count is not None:
                    return count
        return None

    def variables(self, step: int | None = None) -> dict[str, Any]:
        """The variable collections as nested dicts of numpy arrays.

        Args:
            step: One of `steps`; None for the best checkpoint, or else the latest.

        Raises:
            UserError: There is no checkpoint, or none of this step.
        """
        if not self.steps:
            raise UserError(f"{self.path} holds no checkpoint yet")
        if step is not None:
            choose(f"{self.path}: step", step, self.steps)
        from resseg.runs.checkpoints import restore_variables

        return restore_variables(self.path, step)


def _frame(lines: list[dict[str, Any]], first: list[str]) -> "pd.DataFrame":
    import pandas as pd

    names = dict.fromkeys(first)
    for line in lines:
        names.update(dict.fromkeys(line))
    return pd.DataFrame(lines, columns=list(names))


def _parameters(index: Path) -> int | None:
    # Asked of orbax it would cost a report the import of jax.
    try:
        tree: dict[str, Any] = parse_json(index.read_text(encoding="utf-8"))
        shapes = [
            leaf["value_metadata"]["write_shape"]
            for leaf in tree["tree_metadata"].values()
            if leaf["key_metadata"][0]["key"] == "params"
        ]
        return sum(math.prod(shape) for shape in shapes) or None
    except (OSError, ValueError, KeyError, TypeError, IndexError):
        return None
