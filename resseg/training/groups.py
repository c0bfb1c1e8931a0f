"""Groups of parameters that optimizers treat apart, by their names and places.

Parameters are one tree whose top level names the parts of the network:
`{"backbone": {...}, "head": {...}, "aux": {...}}`.
"""

from collections.abc import Callable, Collection, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import traverse_util
from jax.typing import ArrayLike

from resseg.gradients.names import (
    BACKBONE,
    BIAS,
    CLASSIFIER,
    GATE,
    SCORE,
    STAGE,
    UPSAMPLE,
)

Tree = Any
KERNELS, NORMS, BIASES = "kernels", "norms", "biases"
STEM, BLOCK = "stem", "block"


def group_of(path: tuple[str, ...], norms: Collection[tuple[str, ...]]) -> str:
    """`KERNELS`, `NORMS`, `BIASES`, or "" for gates and the factors of paths.

    Zero is no neutral value of a gate or of a factor of a path (a shortcut scaled to
    zero is a different network): those are never decayed.
    """
    if GATE in path:
        return ""
    if path[-1] == "kernel":
        return KERNELS
    if path[:-1] in norms:
        return NORMS
    return BIASES if path[-1] == BIAS else ""


def decays(group: str) -> Callable[[Tree], Tree]:
    """Mask of the parameters of a group."""

    def mask(params: Tree) -> Tree:
        flat = traverse_util.flatten_dict(params)
        # A factor of a path is called otherwise.
        norms = {path[:-1] for path in flat if path[-1] == "scale"}
        return traverse_util.unflatten_dict(
            {path: group_of(path, norms) == group for path in flat}
        )

    return mask


def is_matrix(path: tuple[str, ...], leaf: Any) -> bool:
    """Whether Muon makes the update of a parameter orthogonal.

    Kernels of convolutions but for those that read the image and those that put out
    scores, as its author has it for the first and last layer (Jordan 2024); gates, and
    depthwise kernels, whose channels no matrix mixes.
    """
    ends = any(n == CLASSIFIER or n.startswith((SCORE, UPSAMPLE)) for n in path)
    first = STEM in path and leaf.shape[-2:-1] == (3,)
    kernel = path[-1] == "kernel" and GATE not in path and jnp.ndim(leaf) == 4
    return kernel and not ends and not first and leaf.shape[2] > 1


def matrices(params: Tree) -> Tree:
    """Mask of the parameters of which `is_matrix` holds."""
    return _by_path(is_matrix, params)


def others(params: Tree) -> Tree:
    """Mask of those of which it does not."""
    return jax.tree.map(lambda held: not held, matrices(params))


def layers_above(params: Mapping[str, Any]) -> Tree:
    """How many layers of the backbone a signal passes behind each parameter.

    Its blocks are the layers: 1 in the last of them, their number and 1 in the stem, 0
    behind them all and in the heads.
    """
    blocks: list[tuple[str, ...]] = [
        (stage, block)
        for stage, parts in params.get(BACKBONE, {}).items()
        if stage.startswith(STAGE)
        for block in parts
        if block.startswith(BLOCK)
    ]
    blocks.sort(key=lambda names: [int(name.strip(STAGE + BLOCK)) for name in names])

    def above(path: tuple[str, ...], _: Any) -> int:
        if path[:2] == (BACKBONE, STEM):
            return len(blocks) + 1
        if path[0] == BACKBONE and path[1:3] in blocks:
            return len(blocks) - blocks.index(path[1:3])
        return 0

    return _by_path(above, params)


def is_frozen(path: tuple[str, ...], frozen: Collection[str]) -> bool:
    """Whether a parameter is of a stage of the backbone, or its stem, that is."""
    return path[0] == BACKBONE and path[1] in frozen


def held(params: Tree, frozen: Collection[str]) -> Tree:
    """Parameters through which no gradient reaches those of frozen stages."""

    def hold(path: tuple[str, ...], leaf: Any) -> Any:
        return jax.lax.stop_gradient(leaf) if is_frozen(path, frozen) else leaf

    return _by_path(hold, params) if frozen else params


def scaled(
    updates: Tree,
    backbone_factor: ArrayLike,
    layer_factor: ArrayLike,
    frozen: Collection[str],
) -> Tree:
    """Updates times the factors on the learning rates of their layers; 0 if frozen."""
    above: dict[tuple[str, ...], Any] = traverse_util.flatten_dict(
        layers_above(updates)
    )

    def scale(path: tuple[str, ...], update: jax.Array) -> jax.Array:
        if is_frozen(path, frozen):
            return jnp.zeros_like(update)
        if path[0] != BACKBONE:
            return update
        return (backbone_factor * layer_factor ** above[path]) * update

    return _by_path(scale, updates)


def _by_path(function: Callable[[tuple[str, ...], Any], Any], tree: Tree) -> Tree:
    def call(path: tuple[Any, ...], leaf: Any) -> Any:
        return function(tuple(entry.key for entry in path), leaf)

    return jax.tree_util.tree_map_with_path(call, tree)
