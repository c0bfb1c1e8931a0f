"""One pass over a batch, part by part: which is the first that is not finite."""

import functools
import math
from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import traverse_util
from jax.sharding import Mesh

from resseg import sharding
from resseg.gradients.fork import Fork, fork_name
from resseg.gradients.joins import CARRIED, COMPUTED
from resseg.gradients.measure import by_taps
from resseg.gradients.statistics import TapStatistics
from resseg.training import recipe, scaling
from resseg.training.faults import (
    STAGES,
    Fault,
    Named,
    has_entries,
    image_fault,
    label_fault,
    loss_fault,
    named_leaves,
    state_fault,
    words,
)
from resseg.training.objective import mixed_up, total_loss
from resseg.training.program import Program
from resseg.training.steps import TrainState, applied, begun

_PARTS = {"__call__": "", CARRIED: ", shortcut", COMPUTED: ", branch"}  # by method


class Examiner:
    """Examines steps of one program; it compiles once.

    Args:
        program: that trains.
        config: of the structure of that program.
        classes: how many there are.
        mesh: of the steps.
    """

    def __init__(self, program: Program, config: Any, classes: int, mesh: Mesh):
        # Not the program itself: who keeps one of these by its program would keep both.
        self._blueprint, self._forks = program.blueprint, program.forks
        self._model = program.split_model
        self._classes = classes
        self._loss = recipe.build_loss(config, classes)
        self._optimizer_of = recipe.optimizer_of(config)
        self._outputs: list[tuple[str, int]] = []  # name and size, while it is traced
        whole = sharding.replicated(mesh)
        self._pass = jax.jit(self._examine, out_shardings=whole)
        self._gathered = jax.jit(lambda x: x, out_shardings=whole)

    def __call__(
        self, state: TrainState, batch: Mapping[str, jax.Array], key: jax.Array
    ) -> list[Fault]:
        """The faults of a step by stage, the first one first; [] = all is finite.

        Of several processes each finds what is on its devices.

        Args:
            state: before the step.
            batch: of the step, on the mesh.
            key: of the run.
        """
        measured = jax.device_get(self._pass(state, batch, key))
        found = {
            "image": image_fault(batch["image"]),
            "label": label_fault(self.whole(batch["label"]), self._classes),
            "parameter": state_fault(state.params),
            "coefficient": _leaf_fault(measured["paths"], state.paths, has_entries),
            "statistic": state_fault(state.batch_stats),
            "forward": self._forward_fault(measured["outputs"]),
            "loss": loss_fault(measured["loss"], measured["terms"]),
            "backward": self._backward_fault(measured),
            "optimizer": state_fault(state.opt_state),
            "average": state_fault(state.ema),
            "update": _leaf_fault(measured["updates"], state.params)
            or _leaf_fault(measured["params"], state.params),
        }
        faults = [(stage, found[stage]) for stage in STAGES]
        return [Fault(stage, *fault) for stage, fault in faults if fault is not None]

    def whole(self, array: jax.Array) -> np.ndarray:
        """An array on the host, also what of it lies on devices of other processes."""
        return np.asarray(self._gathered(array))

    def _examine(self, state: TrainState, batch: Any, key: jax.Array) -> dict[str, Any]:
        state, key = begun(state, key)
        batch = mixed_up(batch, key, state.numbers)

        def loss_of(params, measuring):
            forward = applied(self._model, state, batch, key, params, measuring)
            (outputs, _), tallies = self._noted(forward)
            value, terms = total_loss(self._loss, outputs, batch, state.numbers)
            return scaling.scaled(value, state), (tallies, terms)

        taps = self._blueprint.zero_taps()
        (value, aside), gradients, forks = by_taps(loss_of, state.params, taps)
        gradients = scaling.unscaled(gradients, state)
        optimizer, _ = self._optimizer_of(state.numbers)
        updates, _ = optimizer.update(gradients, state.opt_state, state.params)
        after = optax.apply_updates(state.params, updates)
        tallied = functools.partial(jax.tree.map, _tally)
        return {
            "outputs": aside[0],
            "paths": tallied(state.paths),
            "loss": value,
            "terms": aside[1],
            "forks": forks,
            "gradients": tallied(gradients),
            "updates": tallied(updates),
            "params": tallied(after),
        }

    def _noted(self, forward: Callable[[], Any]) -> tuple[Any, list[jax.Array]]:
        """What `forward` returns, and tallies of all outputs as they are there."""
        tallies, self._outputs = [], []

        def note(call, positional, keywords, context):
            value = call(*positional, **keywords)
            if context.method_name in _PARTS:
                for leaf in jax.tree.leaves(value):
                    tallies.append(_tally(leaf))
                    self._outputs.append((_output_name(context), leaf.size))
            return value

        with nn.intercept_methods(note):
            return forward(), tallies

    def _forward_fault(self, tallies: list[np.ndarray]) -> Named | None:
        for (name, size), tally in zip(self._outputs, tallies, strict=True):
            if has_entries(tally):
                return name, words(tally, size)
        return None

    def _backward_fault(self, measured: Mapping[str, Any]) -> Named | None:
        """From the loss down: at a fork or in the gradient of a parameter."""
        gradients: dict[tuple[str, ...], Any]
        gradients = traverse_util.flatten_dict(measured["gradients"])
        sizes = {fork.name: math.prod(fork.shape) for fork in self._forks}
        for path, module, *_ in reversed(self._blueprint.trace.calls):
            if isinstance(module, Fork):
                name = fork_name(path)
                fault = _fork_fault(module.paths, measured["forks"][name])
                if fault is not None:
                    return f"fork {name}, {fault[0]}", _count(fault[1], sizes[name])
            for leaf, tally in gradients.items():
                if leaf[:-1] == path and has_entries(tally):
                    size = _size_at(self._blueprint.variables["params"], leaf)
                    return f"gradient of {'/'.join(leaf)}", words(tally, size)
        for leaf, tally in gradients.items():
            if tally.any():
                return f"gradient of {'/'.join(leaf)}", words(tally, 0)
        return None


def _tally(x: jax.Array) -> jax.Array:
    """Int32 `[3]`: NaN, infinite entries, 1 if the squares of the others overflow."""
    x = x.astype(jnp.float32)
    squares = jnp.sum(jnp.where(jnp.isfinite(x), x * x, 0))
    sums = [jnp.isnan(x).sum(), jnp.isinf(x).sum(), jnp.isinf(squares)]
    return jnp.stack([jnp.asarray(each, jnp.int32) for each in sums])


def _count(count: float, size: int) -> str:
    return f"{count:.0f} of {size:,} entries not finite"


def _output_name(context: Any) -> str:
    module, path = context.module, context.module.path
    name = fork_name(path) if isinstance(module, Fork) else "/".join(path)
    return f"{name or 'the network'}{_PARTS[context.method_name]}"


def _fork_fault(
    paths: tuple[str, ...], measured: TapStatistics
) -> tuple[str, float] | None:
    for path, count in zip(paths, measured.nonfinite, strict=True):
        if count:
            return f"path {path}", float(count)
    total = measured.total_nonfinite
    return ("the sum of its paths", float(total)) if total else None


def _is_any(tally: np.ndarray) -> bool:
    return bool(np.any(tally))


def _leaf_fault(
    tallies: Any, like: Any, counts: Callable[[np.ndarray], bool] = _is_any
) -> Named | None:
    sizes = {name: leaf.size for name, leaf in named_leaves(like)}
    for name, tally in named_leaves(tallies):
        if counts(tally):
            return name, words(tally, sizes[name])
    return None


def _size_at(variables: Any, path: tuple[str, ...]) -> int:
    for name in path:
        variables = variables[name]
    return variables.size
