"""The compiled half of a run: what all runs of one structure share.

A worker that trains many runs keeps one `Programs`: runs that differ only in numbers
(see `structure`) then trace and compile once. With what `resseg.programs` keeps on the
disk, a process that comes later does neither.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from resseg import sharding
from resseg.blueprint.blueprint import Blueprint
from resseg.blueprint.drawing import Drawing
from resseg.blueprint.outline import Outline
from resseg.config.structure import start_key, structure_key
from resseg.data import DatasetSpec
from resseg.inference.evaluator import compile_evaluation
from resseg.programs.kept import Kept, Store
from resseg.training import recipe, scaling
from resseg.training.guard import SKIP
from resseg.training.steps import TrainState, init_state, make_train_step

Blueprints = Callable[[Any, int], Blueprint]  # of a config, and a number of classes


class Program:
    """Network, jitted train step and jitted evaluation of one structure.

    Args:
        config: any config of the structure.
        spec: of its data.
        mesh: that it runs on.
        blueprints: knows the blueprint of `config`, and those of others like it.
        store: of what earlier processes compiled for this mesh; None = none is kept.

    Attributes:
        blueprint: that of `config`.
        model: with the coefficients of `config`; those of a run come from its state.
        split_model: the same, for batches as the mesh splits them.
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
        store: Store | None = None,
    ):
        self._classes = spec.num_classes
        self._mesh, self._whole = mesh, sharding.replicated(mesh)
        self._blueprints = blueprints
        self._store = store
        self._key = {
            "structure": structure_key(config),
            "classes": spec.num_classes,
            "class_weights": recipe.class_weights(config).tolist(),
            "mesh": [mesh.axis_names, mesh.devices.shape],
        }
        self._begins: dict[str, Drawing] = {}
        self._together: dict[jax.sharding.Mesh, Any] = {}
        self.blueprint = blueprints(config, self._classes)
        self.model = self.blueprint.model
        self.forks = self.blueprint.forks(config.data.batch_size)
        # Blueprint and evaluation see the plain network: nothing is kept for them.
        split = sharding.by_batch(mesh)
        self.split_model = self.model.clone(split=split)
        frozen = tuple(config.optim.freeze)
        backbone = self.model.backbone.clone(remat=config.train.remat, frozen=frozen)
        self.train_step = make_train_step(
            self.split_model.clone(backbone=backbone),
            recipe.optimizer_of(config),
            recipe.build_loss(config, self._classes),
            self.blueprint.zero_taps() if config.log.gradients.every else {},
            num_classes=self._classes,
            clips=config.optim.clip_norm is not None,
            averages=recipe.averages(config),
            sharp=config.optim.sam_rho > 0,
            frozen=frozen,
            parts=config.train.accumulate,
            skips=config.train.on_nonfinite == SKIP,
        )
        step = jax.jit(
            self.train_step,
            in_shardings=(self._whole, split, self._whole),
            out_shardings=self._whole,
            donate_argnums=0,
        )
        evaluation = compile_evaluation(self.model, self._classes, mesh)
        self.step: Any = self._kept("train_step", step)
        self.evaluation: Any = self._kept("eval_step", evaluation)
        if isinstance(self.step, Kept):
            self.step.expect(batch_of(config))
        self.network = {
            "title": self.blueprint.title,
            "parameters": self.blueprint.params,
            "macs": self.blueprint.macs,
            "image": [*config.data.crop, 3],
        }

    def _kept(self, name: str, function: Any) -> Any:
        if self._store is None:
            return function
        return self._store.function(function, self._key | {"name": name})

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

    def beginning(self, config: Any) -> Drawing:
        """`(key, paths) -> state`, on the host: draws the weights of a config."""
        start = start_key(config)
        if start not in self._begins:
            self._begins[start] = self._drawing(config)
        return self._begins[start]

    def _drawing(self, config: Any) -> Drawing:
        optimizer, _ = recipe.build_optimizer(config)
        state_of = functools.partial(
            init_state, optimizer=optimizer, ema=recipe.averages(config)
        )
        kept = self._key | {"name": "beginning", "start": start_key(config)}
        recipes = None if self._store is None else self._store.facts(kept)
        if recipes is not None:
            shapes = jax.eval_shape(state_of, self.blueprint.variables)
            return Drawing.from_json(jax.tree.structure(shapes), recipes)
        draw = self._blueprints(config, self._classes).drawing()

        def begin(key: jax.Array, paths: Any) -> TrainState:
            return state_of(draw(key) | {"paths": paths})

        key, paths = jax.random.key(config.seed), self.blueprint.paths(config)
        drawing = Drawing.of(begin, key, paths)
        recipes = drawing.to_json()
        if self._store is not None and recipes is not None:
            self._store.keep_facts(kept, recipes)
        return drawing

    def begin(self, config: Any) -> TrainState:
        """The state before the first update, on the mesh."""
        key = jax.random.key(config.seed)
        state = self.beginning(config)(key, self.blueprint.paths(config))
        state = state.replace(
            schedules=self.lines(config),
            numbers=recipe.numbers(config),
            scaling=scaling.start(config),
        )
        return sharding.put(state, self._whole)

    def lines(self, config: Any) -> dict[str, Any]:
        """The lines of the coefficients of a config: `TrainState.schedules`."""
        return self.blueprint.lines(config)


class Programs:
    """One `Program` per structure, made when it is first asked for.

    And one blueprint per structure and set of values that weights start from.

    Args:
        keeps: whether programs are kept on the disk, and those of earlier processes
            used; see `resseg.programs`.
    """

    def __init__(self, *, keeps: bool = False):
        self._keeps = keeps
        self._stores: dict[tuple[Any, ...], Store | None] = {}
        self._made: dict[str, Program] = {}
        self._blueprints: dict[tuple[str, str, int], Blueprint] = {}

    def blueprint(self, config: Any, num_classes: int) -> Blueprint:
        """That of a config; traced once."""
        key = (structure_key(config), start_key(config), num_classes)
        if key not in self._blueprints:
            self._blueprints[key] = self._blueprint(config, num_classes, key)
        return self._blueprints[key]

    def _blueprint(self, config: Any, num_classes: int, key: Any) -> Blueprint:
        store = self._store(jax.devices())
        if store is None:
            return Blueprint.of(config, num_classes)
        kept = {"name": "outline", "key": key}
        facts = store.facts(kept)
        if facts is not None:
            outline = Outline.from_json(facts)
            return Blueprint.of(config, num_classes, outline=outline)
        blueprint = Blueprint.of(config, num_classes)
        store.keep_facts(kept, blueprint.outline.to_json())
        return blueprint

    def _store(self, devices: Sequence[Any]) -> Store | None:
        key = tuple(devices)
        if key not in self._stores:
            # What several processes compile, no executable that is kept stands for.
            keeps = self._keeps and jax.process_count() == 1
            self._stores[key] = Store.open(key) if keeps else None
        return self._stores[key]

    def __call__(
        self, config: Any, spec: DatasetSpec, mesh: jax.sharding.Mesh
    ) -> Program:
        key = structure_key(config)
        if key not in self._made:
            store = self._store(list(mesh.devices.flat))
            self._made[key] = Program(config, spec, mesh, self.blueprint, store)
        return self._made[key]


def batch_of(config: Any) -> dict[str, jax.ShapeDtypeStruct]:
    """Shapes and dtypes of a batch."""
    images = (config.data.batch_size, *config.data.crop)
    return {
        "image": jax.ShapeDtypeStruct((*images, 3), np.float32),
        "label": jax.ShapeDtypeStruct(images, np.int32),
    }
