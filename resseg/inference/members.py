"""The networks whose class probabilities are averaged, read from their run folders."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from resseg.errors import UserError
from resseg.inference.trained import Trained, load_trained
from resseg.runs import Run, checkpoints


def load_members(
    runs: Sequence[Run], step: int | None = None, average: int = 1
) -> list[Trained]:
    """The networks of runs that know the same classes.

    Args:
        runs: at least one.
        step: see `load_trained`.
        average: see `load_averaged`.

    Raises:
        UserError: see `require_alike` and `load_averaged`.
    """
    require_alike(runs)
    return [load_averaged(run, step, average) for run in runs]


def require_alike(runs: Sequence[Run]) -> None:
    """That runs see images alike and name the same classes in the same order.

    Raises:
        UserError: they do not, or one is given twice.
    """
    first, places = runs[0], set()
    for run in runs:
        place = Path(run.path).resolve()
        if place in places:
            raise UserError(f"{run.path}: given twice; expected different runs")
        places.add(place)
        if run.classes != first.classes:
            other = _difference(first.classes, run.classes)
            raise UserError(
                f"{run.path}: {other}; expected the classes of {first.path}, whose "
                "probabilities are to be averaged with its own"
            )
        here, there = _colors(run), _colors(first)
        if here != there:
            raise UserError(
                f"{run.path}: config.data.mean and std are {here}, and {there} in "
                f"{first.path}: expected runs that normalise images alike"
            )


def _colors(run: Run) -> tuple[tuple[float, ...], tuple[float, ...]]:
    data: Any = run.config.data
    return tuple(data.mean), tuple(data.std)


def shared_bits(runs: Sequence[Run]) -> int | None:
    """Bits in use by images of more than 8, as runs were trained; None = not recorded.

    Raises:
        UserError: they were trained with different ones.
    """
    known = {run.bits: run.path for run in runs}
    if len(known) > 1:
        said = ", ".join(f"{bits} in {path}" for bits, path in known.items())
        raise UserError(f"bits in use: {said}; --bits N says which hold for the images")
    (recorded,) = known
    return recorded


def load_averaged(run: Run, step: int | None, count: int) -> Trained:
    """A run with the mean of its latest checkpoints (Izmailov 2018 without new passes).

    Means and variances of batch norm are averaged as the weights are; no image is read
    to measure them anew. Coefficients are those of the latest, and the temperature of a
    single checkpoint is not that of the mean: logits are taken as they are.

    Args:
        run: the run.
        step: the latest of them; None = the latest there is, or for `count` 1 what
            `load_trained` chooses.
        count: of checkpoints.

    Raises:
        UserError: there are fewer, or see `load_trained`.
    """
    if count == 1:
        return load_trained(run, step)
    steps, _ = checkpoints.saved_steps(run.path)
    if count < 1:
        raise UserError(f"--average-checkpoints {count}: expected 1 or more")
    if step is not None:
        checkpoints.choose_step(run.path, step)
    chosen = [each for each in steps if step is None or each <= step][-count:]
    if len(chosen) < count:
        there = ", ".join(map(str, steps)) or "none"
        raise UserError(
            f"--average-checkpoints {count}: {run.path} has {len(chosen)} up to there "
            f"({there}); config.checkpoint.keep_every keeps more in training"
        )
    loaded = [load_trained(run, each) for each in chosen]
    latest = loaded[-1]
    learned = [
        {name: each.variables[name] for name in each.variables if name != "paths"}
        for each in loaded
    ]
    variables = latest.variables | jax.tree.map(_mean, *learned)
    words = "mean of the weights and batch-norm statistics of steps "
    return dataclasses.replace(
        latest,
        variables=variables,
        temperature=1.0,
        weights=words + ", ".join(map(str, chosen)),
    )


def _mean(*arrays: Any) -> np.ndarray:
    total = np.sum([np.asarray(array, np.float64) for array in arrays], axis=0)
    return (total / len(arrays)).astype(np.asarray(arrays[0]).dtype)


def _difference(one: Sequence[str], other: Sequence[str]) -> str:
    if len(one) != len(other):
        return f"{len(other)} classes, not {len(one)}"
    place = next(
        i for i, pair in enumerate(zip(one, other, strict=True)) if len({*pair}) > 1
    )
    return f"class {place} is {other[place]!r}, not {one[place]!r}"
