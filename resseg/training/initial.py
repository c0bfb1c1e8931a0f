"""Weights to start from: those of another run, or its backbone alone."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from flax import traverse_util

from resseg import runs, sharding
from resseg.errors import UserError
from resseg.gradients.names import (
    AUX,
    BACKBONE,
    CLASSIFIER,
    EXIT,
    FACTOR,
    SCORE,
    UPSAMPLE,
)
from resseg.runs.checkpoints import choose_step, restore_variables
from resseg.runs.dataset import are_unnamed
from resseg.training.steps import TrainState

COLLECTIONS = ("params", "batch_stats")  # coefficients come from the config
_NAMED = 4  # arrays that a message lists


class Initial(NamedTuple):
    """Arrays by dotted path, `params/backbone/stem/conv/kernel`, and where from.

    Attributes:
        source: run folder.
        step: of its checkpoint.
        arrays: what is loaded.
        random: what the network has and the source lacks; drawn at random.
        unused: what the source has and the network lacks.
        note: why scores are drawn at random that would have fitted; "" = none are.
    """

    source: str
    step: int
    arrays: dict[str, np.ndarray]
    random: list[str]
    unused: list[str]
    note: str = ""

    def lines(self) -> list[str]:
        """What was loaded and what was not, for people."""
        total = len(self.arrays) + len(self.random)
        lines = [
            f"weights from {self.source}, step {self.step}: "
            f"{len(self.arrays)} of {total} arrays"
        ]
        if self.random:
            lines.append(f"at random: {_listed(self.random)}")
        if self.unused:
            lines.append(f"not used:  {_listed(self.unused)}")
        if self.note:
            lines.append(self.note)
        return lines

    def record(self) -> dict[str, Any]:
        """The same for machines, every array named."""
        values = self._asdict() | {"loaded": sorted(self.arrays)}
        del values["arrays"]
        return values

    def put_into(self, state: TrainState) -> TrainState:
        """`state` with these arrays, placed as its own are; EMA starts from them."""
        collections = {}
        for name in COLLECTIONS:
            flat = dict(_flatten({name: getattr(state, name)}))
            for path, leaf in flat.items():
                if path in self.arrays:
                    flat[path] = sharding.put(self.arrays[path], leaf.sharding)
            collections |= traverse_util.unflatten_dict(flat, sep="/")
        params = collections["params"]
        ema = jax.tree.map(lambda leaf: leaf.copy(), params) if state.ema else {}
        return state.replace(
            params=params, batch_stats=collections.get("batch_stats", {}), ema=ema
        )


def load(
    config: Any, variables: Mapping[str, Any], classes: Sequence[str]
) -> Initial | None:
    """What `config.init` asks for; None where it asks for nothing.

    Every array must fit, but class scores where the classes differ, in number, name or
    order, and the auxiliary head if only one side has it. Where the backbone alone is
    loaded: but the norms at the exits of a pre-activation backbone and learned path
    factors.

    Args:
        config: validated.
        variables: those of the network, or their shapes.
        classes: that the network is to tell apart, by index.

    Raises:
        UserError: no such run, or it is of another network; names the first array that
            does not fit, the shape expected and the shape found.
    """
    whole, backbone = config.init.variables_from, config.init.backbone_from
    if not (whole or backbone):
        return None
    key = "variables_from" if whole else "backbone_from"
    source = whole or backbone
    field = f"config.init.{key}={source!r}"
    try:
        run = runs.open_run(source)
        step = choose_step(run.path)
        restored = _of_interest(restore_variables(run.path, step), bool(backbone))
        note = _other_classes(run, classes) if whole else ""
    except UserError as error:
        raise UserError(f"{field}: {error}") from error
    wanted = _of_interest(variables, bool(backbone))
    optional = may_be_random_backbone if backbone else is_class_score
    arrays, random = {}, []
    for path, leaf in wanted.items():
        there = restored.pop(path, None)
        if note and is_class_score(path):
            random.append(path)
        elif there is not None and there.shape == leaf.shape:
            arrays[path] = there
        elif optional(path):
            random.append(path)
        else:
            shape = "no such array" if there is None else there.shape
            raise UserError(
                f"{field} holds another network: {path}: expected {leaf.shape}, "
                f"found {shape}"
            )
    left = [path for path in restored if not optional(path)]
    if left:
        raise UserError(
            f"{field} holds another network, this one lacks: {_listed(left)}"
        )
    if not arrays:
        raise UserError(f"{field} holds no array of this network")
    return Initial(str(source), step, arrays, sorted(random), sorted(restored), note)


def _other_classes(run: runs.Run, classes: Sequence[str]) -> str:
    """Why the scores of a run are of no use here; "" where they are.

    Scores are by index: those of other classes, or in another order, would start as
    scores of the wrong ones.
    """
    there = runs.read_dataset(run.path).get("classes") or []
    if list(there) == list(classes) or are_unnamed(there):
        return ""
    return (
        f"class scores at random: the classes there are {_listed(there)}, here "
        f"{_listed(classes)}"
    )


def _of_interest(variables: Mapping[str, Any], backbone: bool) -> dict[str, Any]:
    flat = _flatten({name: variables.get(name, {}) for name in COLLECTIONS})
    if not backbone:
        return flat
    return {path: leaf for path, leaf in flat.items() if _top(path) == BACKBONE}


def _flatten(tree: Mapping[str, Any]) -> dict[str, Any]:
    return traverse_util.flatten_dict(dict(tree), sep="/")


def _top(path: str) -> str:
    return path.split("/")[1]


def is_class_score(path: str) -> bool:
    """Scores, what carries them on (one channel per class), and the auxiliary head."""
    parts = path.split("/")
    scores = (SCORE, UPSAMPLE)
    return CLASSIFIER in parts or parts[1] == AUX or parts[2].startswith(scores)


def may_be_random_backbone(path: str) -> bool:
    parts = path.split("/")
    return parts[-1] == FACTOR or any(part.endswith(EXIT) for part in parts)


def _listed(paths: Sequence[str]) -> str:
    more = len(paths) - _NAMED
    return ", ".join(paths[:_NAMED]) + (f" and {more} more" if more > 0 else "")
