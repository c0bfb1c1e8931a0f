"""Operations on a network's residual blocks: variables in, variables out.

Nothing recompiles: shapes stay, and the factor of a branch is a traced input.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import traverse_util

from resseg.gradients.fork import ForkInfo
from resseg.gradients.names import BRANCH_FACTOR, FACTOR
from resseg.probes.calibration import Variables


def without_branches(variables: Variables, blocks: Iterable[str]) -> Variables:
    """The network with W_r = 0 in `blocks`, module paths: their shortcuts remain.

    Raises:
        ValueError: there is no such block.
    """
    flat: dict[tuple[str, ...], Any] = traverse_util.flatten_dict(variables)
    for block in blocks:
        factor = (*block.split("/"), BRANCH_FACTOR, FACTOR)
        # A constant of the collection `paths`, or learned.
        keys = [key for key in (("paths", *factor), ("params", *factor)) if key in flat]
        if not keys:
            raise ValueError(f"no branch factor of {block}")
        for key in keys:
            flat[key] = jnp.zeros_like(flat[key])
    return traverse_util.unflatten_dict(flat)


def reordered(variables: Variables, contents: Mapping[str, str]) -> Variables:
    """The network with blocks exchanged, in every collection.

    Args:
        contents: place -> the block that it gets, both module paths of blocks with the
            same variables; a permutation.
    """
    flat: dict[tuple[str, ...], Any] = traverse_util.flatten_dict(variables)
    moved = dict(flat)
    for place, source in contents.items():
        to, of = tuple(place.split("/")), tuple(source.split("/"))
        for key in flat:
            if key[1 : 1 + len(to)] == to:
                moved[key] = flat[key[0], *of, *key[1 + len(to) :]]
    return traverse_util.unflatten_dict(moved)


def interchangeable(
    variables: Variables,
    forks: Sequence[ForkInfo],
    outputs: Mapping[str, tuple[int, ...]],
) -> list[tuple[str, ...]]:
    """Groups of two or more blocks of one stage that can take each other's place.

    They read and write signals of the same shape and have variables of the same
    shapes.

    Args:
        forks: in depth order; those of kind block count.
        outputs: shape of what each block puts out, by module path.
    """
    flat: dict[tuple[str, ...], Any] = traverse_util.flatten_dict(variables)
    groups: dict[Any, list[str]] = {}
    for fork in forks:
        if fork.kind != "block":
            continue
        path = tuple(fork.name.split("/"))
        shapes = frozenset(
            (key[0], key[1 + len(path) :], np.shape(leaf))
            for key, leaf in flat.items()
            if key[1 : 1 + len(path)] == path
        )
        alike = (path[:-1], fork.shape, outputs[fork.name], shapes)
        groups.setdefault(alike, []).append(fork.name)
    return [tuple(group) for group in groups.values() if len(group) > 1]


def scrambled(
    sizes: Sequence[int], inversions: int, random: np.random.Generator
) -> list[list[int]]:
    """One order per group, which together turn `inversions` pairs around.

    Neighbours that are still in order are exchanged at random until that many pairs
    are not, so that Kendall's tau over the pairs within groups is exactly
    `1 - 2 inversions / pairs`.

    Raises:
        ValueError: there are not so many pairs.
    """
    if inversions > pairs(sizes):
        raise ValueError(f"{inversions} inversions of {pairs(sizes)} pairs")
    orders = [list(range(size)) for size in sizes]
    for _ in range(inversions):
        ascents = [
            (order, i)
            for order in orders
            for i in range(len(order) - 1)
            if order[i] < order[i + 1]
        ]
        order, i = ascents[random.integers(len(ascents))]
        order[i], order[i + 1] = order[i + 1], order[i]
    return orders


def pairs(sizes: Iterable[int]) -> int:
    """Pairs of members within groups of those sizes."""
    return sum(size * (size - 1) // 2 for size in sizes)
