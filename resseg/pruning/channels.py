"""The channels inside the branches of residual blocks: what each weighs, and fewer.

What a block puts out is tied by shortcuts to all blocks of its stage. What lies between
two convolutions of its branch is tied to nothing, and can go (Li 2017, section 3.3).
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

Path = tuple[str, ...]
Flat = Mapping[Path, Any]  # parameters or statistics by path
BRANCHES = ("branch", "branch2")


@dataclasses.dataclass(frozen=True)
class Inside:
    """Channels between two convolutions of a branch.

    Attributes:
        writes: kernel that puts them out, on its last axis.
        reads: kernel that takes them in, on the axis before its last.
        scale: of the last norm between both; () = there is none.
        axes: every array that has them -> the axis.
    """

    writes: Path
    reads: Path
    scale: Path
    axes: Mapping[Path, int]


def insides(flat: Flat, block: Path, kind: str, order: str) -> list[Inside]:
    """Those of the branches of a block.

    Args:
        flat: parameters and statistics.
        block: its path.
        kind: of block, one of `architecture.PRUNABLE`.
        order: of norm, activation and convolution, as in the config.
    """
    found = []
    for name in BRANCHES:
        branch = (*block, name)
        inner = {path[len(branch) :]: path for path in flat if _is_in(path, branch)}
        count = sum(p[0].startswith("conv") for p in inner)
        wide = kind in ("inverted", "mbconv")  # one set, a depthwise kernel in between
        pairs = [(1, 3)] if wide else [(i, i + 1) for i in range(1, count)]
        if count:
            found += [_between(inner, *pair, order, wide) for pair in pairs]
    return found


def weights(flat: Flat, inside: Inside) -> np.ndarray:
    """What each channel can add to what reads it, `[channels]`.

    The norm of the weights that read it, times the size of its scale, or, where no norm
    stands between, times the norm of the weights that write it.
    """
    read = np.asarray(flat[inside.reads], np.float64)
    weight = np.sqrt((read**2).sum(axis=(0, 1, 3)))
    if inside.scale:
        return weight * np.abs(np.asarray(flat[inside.scale], np.float64))
    write = np.asarray(flat[inside.writes], np.float64)
    return weight * np.sqrt((write**2).sum(axis=(0, 1, 2)))


def without(flat: Flat, inside: Inside, keep: int) -> dict[Path, np.ndarray]:
    """The arrays that have these channels, with the `keep` weightiest, in order."""
    order = np.argsort(-weights(flat, inside), kind="stable")
    kept = np.sort(order[:keep])
    return {
        path: np.take(np.asarray(flat[path]), kept, axis=axis)
        for path, axis in inside.axes.items()
    }


def _is_in(path: Path, branch: Path) -> bool:
    return path[: len(branch)] == branch


def _between(
    inner: Mapping[Path, Path], first: int, last: int, order: str, wide: bool
) -> Inside:
    """What is between two convolutions, by its place in the branch."""
    ahead = order == "pre"  # norms stand in front of their convolutions
    norms = [f"norm{i + ahead}" for i in range(first, last)]
    axes = {(f"conv{first}", "kernel"): -1, (f"conv{last}", "kernel"): -2}
    axes |= {(f"conv{i}", "kernel"): -1 for i in range(first + 1, last)}
    axes |= {path: -1 for path in inner if path[0] in norms}
    if wide:  # squeeze-and-excitation of what is inside
        excited = {
            ("se", "reduce", "kernel"): -2,
            ("se", "expand", "kernel"): -1,
            ("se", "expand", "bias"): -1,
        }
        axes |= {path: axis for path, axis in excited.items() if path in inner}
    scales = [p for p in inner if p[0] == norms[-1] and p[-1] == "scale"]
    return Inside(
        inner[f"conv{first}", "kernel"],
        inner[f"conv{last}", "kernel"],
        inner[scales[0]] if scales else (),
        {inner[path]: axis for path, axis in axes.items()},
    )
