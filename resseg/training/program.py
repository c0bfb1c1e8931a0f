"""The compiled half of a run: what all runs of one structure share.

A worker that trains many runs keeps one `Programs`: runs that differ only in numbers
(see `structure`) then trace and compile once.
"""

from collections.abc import Callable
from typing import Any

import jax

from resseg import sharding
from resseg.blueprint.blueprint import Blueprint
from resseg.config.structure import start_key, structure_key
from resseg.data import DatasetSpec
from resseg.inference.evaluator import compile_evaluation
from resseg.training import recipe
from resseg.training.steps import TrainState, init_state, make_train_step

Blueprints = Callable[[Any, int], Blueprint]  # of a config, and a number of classes


class Program:
    """Network, jitted train step and jitted evaluation of one structure.

    Args:
        config: any config of the structure.
        spec: of its data.
        mesh: that it runs on.
        blueprints: knows the blueprint of `config`, and those of others like it.

    Attributes:
        blueprint: that of `config`.
        model: with the coefficients of `config`; those of a run come from its state.
        forks: in depth order.
        step: the jitted train step; it consumes the state it is given.
        train_step: the same, not jitted.
        evaluation: the jitted evaluation step.
        network: title, parameters, multiply-accumulates of one image, for JSON.
    """

    def __init__(
        self,
        config: Any,
        spec: DatasetSpec,
        mesh: jax.sharding.Mesh,
        blueprints: Blueprints,
    ):
        self._classes = spec.num_classes
        self._mesh, self._whole = mesh, sharding.replicated(mesh)
        self._blueprints = blueprints
        self._begins: dict[str, Any] = {}
        self._together: dict[jax.sharding.Mesh, Any] = {}
        self.blueprint = blueprints(config, self._classes)
        self.model = self.blueprint.model
        self.forks = self.blueprint.forks(config.data.batch_size)
        self.train_step = make_train_step(
            self.model,
            recipe.optimizer_of(config),
            recipe.build_loss(config, self._classes),
            self.blueprint.zero_taps() if config.log.gradients.every else {},
            num_classes=self._classes,
            clips=config.optim.clip_norm is not None,
            averages=config.optim.ema > 0,
        )
        self.step = jax.jit(
            self.train_step,
            in_shardings=(self._whole, sharding.by_batch(mesh), self._whole),
            out_shardings=self._whole,
            donate_argnums=0,
        )
        self.evaluation = compile_evaluation(self.model, self._classes, mesh)
        self.network = {
            "title": self.blueprint.title,
            "parameters": self.blueprint.params,
            "macs": self.blueprint.macs,
            "image": [*config.data.crop, 3],
        }

    def step_together(self, mesh: jax.sharding.Mesh) -> Any:
        """The jitted train step of stacked states, batches and keys, split over `mesh`.

        It consumes the states it is given. Every device steps slices of its own, and
        none waits for another.
        """
        if mesh not in self._together:
            split = sharding.by_variant(mesh)
            step = jax.shard_map(
                jax.vmap(self.train_step),
                mesh=mesh,
                in_specs=split.spec,
                out_specs=split.spec,
                # With the check, what a slice measures would be summed over devices.
                check_vma=False,
            )
            self._together[mesh] = jax.jit(
                step, in_shardings=split, out_shardings=split, donate_argnums=0
            )
        return self._together[mesh]

    def beginning(self, config: Any) -> Any:
        """The jitted `(key, paths) -> state` that draws the weights of a config."""
        start = start_key(config)
        if start not in self._begins:
            optimizer, _ = recipe.build_optimizer(config)
            draw = self._blueprints(config, self._classes).drawing()
            averages = config.optim.ema > 0

            def begin(key: jax.Array, paths: Any) -> TrainState:
                return init_state(draw(key) | {"paths": paths}, optimizer, ema=averages)

            self._begins[start] = jax.jit(begin, out_shardings=self._whole)
        return self._begins[start]

    def begin(self, config: Any) -> TrainState:
        """The state before the first update, on the mesh."""
        key = jax.random.key(config.seed)
        state = self.beginning(config)(key, self.blueprint.paths(config))
        return state.replace(
            schedules=jax.device_put(self.lines(config), self._whole),
            numbers=jax.device_put(recipe.numbers(config), self._whole),
        )

    def lines(self, config: Any) -> dict[str, Any]:
        """The lines of the coefficients of a config: `TrainState.schedules`."""
        return self.blueprint.lines(config)


class Programs:
    """One `Program` per structure, made when it is first asked for.

    And one blueprint per structure and set of values that weights start from.
    """

    def __init__(self):
        self._made: dict[str, Program] = {}
        self._blueprints: dict[tuple[str, str, int], Blueprint] = {}

    def blueprint(self, config: Any, num_classes: int) -> Blueprint:
        """That of a config; traced once."""
        key = (structure_key(config), start_key(config), num_classes)
        if key not in self._blueprints:
            self._blueprints[key] = Blueprint.of(config, num_classes)
        return self._blueprints[key]

    def __call__(
        self, config: Any, spec: DatasetSpec, mesh: jax.sharding.Mesh
    ) -> Program:
        key = structure_key(config)
        if key not in self._made:
            self._made[key] = Program(config, spec, mesh, self.blueprint)
        return self._made[key]
