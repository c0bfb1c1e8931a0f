"""The train step and the evaluation step: pure functions of arrays."""

import functools
from collections.abc import Callable, Mapping
from typing import Any, Self

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp
import optax

from resseg.gradients.blocks import sum_squares_by_block
from resseg.gradients.coefficients import learned_means, on_line
from resseg.gradients.joins import JOINS, with_moments
from resseg.gradients.measure import Measured, by_taps
from resseg.inference.metrics import confusion_matrix
from resseg.training import groups, optim, scaling, sharpness
from resseg.training.accumulation import in_parts
from resseg.training.batch_hash import batch_hash
from resseg.training.guard import only_if_finite
from resseg.training.losses import Loss
from resseg.training.objective import Batch, mixed_up, total_loss
from resseg.training.optim import OptimizerOf


class TrainState(flax.struct.PyTreeNode):
    """Arrays only. `paths` holds the coefficients of the forks; no optimizer sees it.

    Attributes:
        step: int32, number of updates made.
        ema: averaged params, or an empty dict.
        schedules: as `paths`, with leaves `[4]`: start, end, first and last step of a
            line; or empty where nothing moves. Numbers of the config, so no checkpoint
            holds them; arrays, so that another schedule is the same program.
        numbers: scalars of the config that the step computes with, named after their
            keys: those of the optimizer and of `objective`. As `schedules`, arrays that
            no checkpoint holds.
        scaling: of the loss, where that moves; see `scaling`.
    """

    step: jax.Array
    params: Any
    batch_stats: Any
    paths: Any
    opt_state: Any
    ema: Any
    schedules: Any = flax.struct.field(default_factory=dict)
    numbers: Any = flax.struct.field(default_factory=dict)
    scaling: Any = flax.struct.field(default_factory=dict)

    def variables(self) -> dict[str, Any]:
        """What a forward pass is evaluated with: the averaged weights if there are."""
        return {
            "params": self.ema or self.params,
            "batch_stats": self.batch_stats,
            "paths": self.paths,
        }

    def training(self) -> dict[str, Any]:
        """What training goes on from beside `variables`."""
        rest = {"step": self.step, "opt_state": self.opt_state}
        rest |= {"params": self.params} if self.ema else {}
        return rest | ({"scaling": self.scaling} if self.scaling else {})

    def restored(self, variables: Any, training: Any) -> Self:
        """This state as it was when it gave these `variables` and this `training`."""
        averages = bool(self.ema)
        return self.replace(
            step=training["step"],
            params=training["params"] if averages else variables["params"],
            batch_stats=variables["batch_stats"],
            paths=variables["paths"],
            opt_state=training["opt_state"],
            ema=variables["params"] if averages else {},
            scaling=training["scaling"] if self.scaling else {},
        )


def init_state(
    variables: Mapping[str, Any], optimizer: optax.GradientTransformation, *, ema: bool
) -> TrainState:
    """The state before the first update. Jit it with the sharding it shall have.

    Args:
        variables: params and batch_stats as drawn; paths, the coefficients, which are
            no constants of the program where they are arguments of it.
        ema: whether weights are averaged.
    """
    params = variables["params"]
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=params,
        batch_stats=variables["batch_stats"],
        paths=jax.tree.map(jnp.asarray, variables["paths"]),
        opt_state=optimizer.init(params),
        ema=jax.tree.map(jnp.copy, params) if ema else {},
    )


def begun(state: TrainState, key: jax.Array) -> tuple[TrainState, jax.Array]:
    """The state with the coefficients of its step, and the key of its step."""
    key = jax.random.fold_in(key, state.step)
    if state.schedules:
        now = functools.partial(on_line, step=state.step)
        state = state.replace(paths=jax.tree.map(now, state.schedules))
    return state, key


def applied(
    model: nn.Module,
    state: TrainState,
    batch: Batch,
    key: jax.Array,
    params: Any,
    measuring: Mapping[str, Any],
) -> Callable[[], Any]:
    """The forward pass of a step that has `begun`, with these `params`."""
    collections = {"params": params, "paths": state.paths, **measuring}
    if state.batch_stats:
        collections["batch_stats"] = state.batch_stats
    return functools.partial(
        model.apply,
        collections,
        batch["image"],
        train=True,
        rngs={"dropout": key},
        mutable=["batch_stats", JOINS],
    )


def make_train_step(
    model: nn.Module,
    optimizer_of: OptimizerOf,
    loss: Loss,
    taps: Any,
    *,
    num_classes: int,
    clips: bool = False,
    averages: bool = False,
    skips: bool = False,
    sharp: bool = False,
    frozen: tuple[str, ...] = (),
    parts: int = 1,
    measured: Callable[..., Measured] = by_taps,
) -> Callable[[TrainState, Batch, jax.Array], tuple[TrainState, dict[str, Any]]]:
    """Builds `train_step(state, batch, key) -> (state, log)`.

    The batch holds "image" float32 `[batch, height, width, 3]` and "label" int32
    `[batch, height, width]`. The random stream is `fold_in(key, state.step)`, so a
    resumed run draws the same numbers.

    Args:
        optimizer_of: called with `state.numbers` while the step is traced.
        taps: the model's `taps` collection of zeros, or {} to measure nothing. What the
            forks measure is a by-product of the one backward pass.
        clips: whether the optimizer clips, at the number `clip_norm`; only reported.
        averages: whether weights are averaged, by the numbers `swa_start` and
            `swa_every` where they are there, else with the number `ema` as decay.
        skips: whether a batch whose loss or gradient is not finite leaves the state as
            it was, the number of updates included.
        sharp: whether the gradient is that of `sharpness`, with the number `sam_rho`;
            it is what the log measures, beside the loss of the weights themselves.
        frozen: stages of the backbone, or its stem, whose weights stay.
        parts: of the batch, whose gradients are added up; see `accumulation`.
        measured: back end of the measurement, `by_taps` or `by_logs`.

    Returns:
        A function whose log holds "scalars" (loss, its terms, learning rate, norms),
        "confusion" int32 `[truth, prediction]` of this batch, "batch_hash" (which batch
        it was), "forks" (name -> `TapStatistics`, of the loss times its scale), "joins"
        (fork -> `moments` of what its block adds), "learned" (means of the learned
        factors and gate biases), "blocks" (params, gradients, updates: name -> sum of
        squares), and what `scaling.noted` adds.
    """

    def loss_of(state, batch, key, params, measuring):
        params = groups.held(params, frozen)
        forward = applied(model, state, batch, key, params, measuring)
        joins = {}
        if measuring:
            outputs, updated, joins = with_moments(forward)
        else:
            outputs, updated = forward()
        value, terms = total_loss(loss, outputs, batch, state.numbers)
        predictions = outputs["logits"].argmax(-1)
        confusion = confusion_matrix(batch["label"], predictions, num_classes)
        aside = terms, updated.get("batch_stats", {}), confusion, joins
        return scaling.scaled(value, state), aside

    gradient_of = in_parts(parts, loss_of, measured, taps)
    if sharp:
        unmeasured = in_parts(parts, loss_of, measured, {})
        gradient_of = sharpness.aware(unmeasured, gradient_of)

    def updated(state, gradients, batch_stats):
        """The state after an update, and the sums of squares of that by block."""
        optimizer, _ = optimizer_of(state.numbers)
        updates, opt_state = optimizer.update(gradients, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        ema = state.ema
        if averages:
            ema = optim.averaged(ema, params, state.numbers, state.step)
        after = state.replace(
            step=state.step + 1,
            params=params,
            batch_stats=batch_stats,
            opt_state=opt_state,
            ema=ema,
        )
        return after, sum_squares_by_block(updates)

    def train_step(state, batch, key):
        before = state
        state, key = begun(state, key)
        shown = mixed_up(batch, key, state.numbers)
        (value, aside), gradients, forks = gradient_of(state, shown, key)
        terms, batch_stats, confusion, joins = aside
        gradients = scaling.unscaled(gradients, state)
        _, schedule = optimizer_of(state.numbers)
        grad_norm = optax.tree.norm(gradients)
        clip_norm = state.numbers["clip_norm"] if clips else None
        squares = sum_squares_by_block(gradients)
        update = functools.partial(updated, state, gradients, batch_stats)
        if skips or state.scaling:
            none = before, jax.tree.map(jnp.zeros_like, squares)
            after, moved = only_if_finite(value, grad_norm, update, none)
        else:
            after, moved = update()
        log = {
            "scalars": {
                "loss": value,
                **terms,
                "learning_rate": schedule(state.step),
                "grad_norm": grad_norm,
                "clip_factor": optim.clip_factor(grad_norm, clip_norm),
            },
            "confusion": confusion,
            "batch_hash": batch_hash(batch),
            "forks": forks,
            "joins": joins,
            "learned": learned_means(state.params),
            "blocks": {
                "params": sum_squares_by_block(state.params),
                "gradients": squares,
                "updates": moved,
            },
        }
        return scaling.noted(before, after, log)

    return train_step
