"""The compiled half of a run: what all runs of one structure share.

A worker that trains many runs keeps one `Programs`: runs that differ only in numbers
(see `structure`) then trace and compile once.
"""

import functools
from typing import Any

import jax

from resseg import sharding
from resseg.blueprint import coefficients, network
from resseg.blueprint.description import describe_model
from resseg.config.structure import start_key, structure_key
from resseg.data import DatasetSpec
from resseg.gradients.fork import list_forks
from resseg.inference.evaluator import compile_evaluation
from resseg.training import recipe
from resseg.training.steps import TrainState, init_state, make_train_step, zero_taps


class Program:
    """Network, jitted train step and jitted evaluation of one structure.

    Args:
        config: any config of the structure.
        spec: of its data.
        mesh: that it runs on.

    Attributes:
        model: with the coefficients of `config`; those of a run come from its state.
        forks: in depth order.
        step: the jitted train step; it consumes the state it is given.
        train_step: the same, not jitted.
        evaluation: the jitted evaluation step.
        network: title, parameters, multiply-accumulates of one image, for JSON.
    """

    def __init__(self, config: Any, spec: DatasetSpec, mesh: jax.sharding.Mesh):
        self._classes = spec.num_classes
        self._mesh, self._whole = mesh, sharding.replicated(mesh)
        self._shape = (1, *config.data.crop, 3)
        self._begins: dict[str, Any] = {}
        self._together: dict[jax.sharding.Mesh, Any] = {}
        self.model = network.build_segmenter(config.model, self._classes)
        self.forks = list_forks(self.model, (config.data.batch_size, *self._shape[1:]))
        self.lines = coefficients.PathLines(config, self._classes)
        self.train_step = make_train_step(
            self.model,
            recipe.optimizer_of(config),
            recipe.build_loss(config, self._classes),
            zero_taps(self.model, self._shape) if config.log.gradients.every else {},
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
        described = describe_model(config, tuple(config.data.crop), self._classes)
        self.network = {
            "title": described.title,
            "parameters": described.params,
            "macs": described.macs,
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

    def begin(self, config: Any) -> TrainState:
        """The state before the first update, on the mesh."""
        start = start_key(config)
        if start not in self._begins:
            optimizer, _ = recipe.build_optimizer(config)
            init = functools.partial(
                init_state,
                network.build_segmenter(config.model, self._classes),
                optimizer,
                image_shape=self._shape,
                ema=config.optim.ema > 0,
            )
            self._begins[start] = jax.jit(
                lambda key, paths: init(key=key, paths=paths),
                out_shardings=self._whole,
            )
        key = jax.random.key(config.seed)
        state = self._begins[start](key, self.lines.start(config))
        return state.replace(
            schedules=jax.device_put(self.lines(config), self._whole),
            numbers=jax.device_put(recipe.numbers(config), self._whole),
        )


class Programs:
    """One `Program` per structure, made when it is first asked for."""

    def __init__(self):
        self._made: dict[str, Program] = {}

    def __call__(
        self, config: Any, spec: DatasetSpec, mesh: jax.sharding.Mesh
    ) -> Program:
        key = structure_key(config)
        if key not in self._made:
            self._made[key] = Program(config, spec, mesh)
        return self._made[key]
