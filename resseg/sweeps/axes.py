"""How a study says which runs it wants: lists of overrides, combined."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

Overrides = dict[str, Any]  # values by config key, as in {"train.steps": 5}
Axis = Mapping[str, Sequence[Any]] | Sequence[Overrides]


def product(*axes: Axis) -> list[Overrides]:
    """Every combination, the last axis varying fastest.

    Args:
        axes: each a list of overrides, or a mapping from keys to lists of values, which
            counts as one axis per key.

    Raises:
        ValueError: a key is set by two axes.

    Example:
        >>> for run in product({"model.gradient.shortcut": [0.0, 1.0]}, seeds(2)):
        ...     print(run)
        {'model.gradient.shortcut': 0.0, 'seed': 0}
        {'model.gradient.shortcut': 0.0, 'seed': 1}
        {'model.gradient.shortcut': 1.0, 'seed': 0}
        {'model.gradient.shortcut': 1.0, 'seed': 1}
    """
    lists: list[list[Overrides]] = []
    for axis in axes:
        if isinstance(axis, Mapping):
            lists += [[{key: value} for value in axis[key]] for key in axis]
        else:
            lists.append([dict(overrides) for overrides in axis])
    combined = []
    for parts in itertools.product(*lists):
        run: Overrides = {}
        for part in parts:
            twice = run.keys() & part.keys()
            if twice:
                raise ValueError(f"{min(twice)} is set by two axes of a product")
            run |= part
        combined.append(run)
    return combined


def zipped(values: Mapping[str, Sequence[Any]]) -> list[Overrides]:
    """The first values of all keys together, then the second ones, and so on.

    Raises:
        ValueError: the lists differ in length.

    Example:
        >>> zipped({"optim.name": ["sgd", "adamw"], "optim.learning_rate": [0.1, 1e-3]})
        ... # doctest: +NORMALIZE_WHITESPACE
        [{'optim.name': 'sgd', 'optim.learning_rate': 0.1},
         {'optim.name': 'adamw', 'optim.learning_rate': 0.001}]
    """
    lengths = {key: len(listed) for key, listed in values.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"zipped lists differ in length: {lengths}")
    columns = [[(key, value) for value in listed] for key, listed in values.items()]
    return [dict(row) for row in zip(*columns, strict=True)]


def seeds(count: int) -> list[Overrides]:
    """Seeds 0 … count - 1: of weights, data order, augmentation and dropout.

    Example:
        >>> seeds(2)
        [{'seed': 0}, {'seed': 1}]
    """
    return [{"seed": seed} for seed in range(count)]
