"""Optimizers, learning-rate schedules and averaged weights."""

from collections.abc import Callable, Collection
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike

from resseg.errors import UserError, choose
from resseg.gradients.names import BACKBONE
from resseg.training import groups, muon

SCHEDULES = ("constant", "poly", "cosine")
OPTIMIZERS = ("sgd", "adamw", "muon")

Tree = Any
Numbers = dict[str, Any]
# The optimizer and the learning rate by updates made, for the numbers of a config.
OptimizerOf = Callable[[Numbers], tuple[optax.GradientTransformation, optax.Schedule]]


def make_schedule(
    name: ArrayLike | str,
    learning_rate: ArrayLike,
    steps: ArrayLike,
    warmup_steps: ArrayLike,
    poly_power: ArrayLike,
    end_factor: ArrayLike,
) -> optax.Schedule:
    """Builds the learning rate as a function of the number of updates made so far.

    Every argument may be traced, so that another schedule is the same program; optax's
    own schedules look at theirs. Over the first `warmup_steps` updates the rate rises
    linearly from zero, so a run with a warm-up makes its first update with rate zero.
    Then, with t counted from the end of the warm-up, T = `steps` - `warmup_steps` and
    e = `end_factor`:

    - constant: the peak (`end_factor` is not used),
    - poly: peak × (e + (1 - e)·(1 - t/T)^`poly_power`) (for e = 0: DeepLabV3, Chen
      2017, sec. 4.1),
    - cosine: peak × (e + (1 - e)·(1 + cos(π t/T)) / 2) (Loshchilov & Hutter 2017,
      eq. 5).

    Poly and cosine are exactly e × peak at count `steps`, when the last update has been
    made; the last update itself, at count `steps - 1`, so still moves the weights where
    e is 0. A run that is shorter than its warm-up stays in the warm-up.

    Args:
        name: one of `SCHEDULES`, or its index there.
        learning_rate: peak.
        steps: updates of the whole run, the warm-up included.
        warmup_steps: updates of the warm-up.
        poly_power: exponent of `poly`.
        end_factor: share of the peak at which the schedule ends.

    Raises:
        UserError: an unknown name.
    """
    if isinstance(name, str):
        choose("optim.schedule", name, SCHEDULES)
        name = SCHEDULES.index(name)

    def schedule(count: ArrayLike) -> jax.Array:
        count = jnp.asarray(count, jnp.float32)
        decay_steps = jnp.maximum(jnp.asarray(steps) - warmup_steps, 1)
        way = jnp.clip((count - warmup_steps) / decay_steps, 0.0, 1.0)
        shares = jnp.stack(
            [
                jnp.ones_like(way),
                (1 - way) ** poly_power,
                (1 + jnp.cos(jnp.pi * way)) / 2,
            ]
        )
        end = jnp.where(jnp.asarray(name) == 0, 0.0, end_factor)
        decayed = learning_rate * (end + (1 - end) * shares[jnp.asarray(name)])
        rising = learning_rate * count / jnp.maximum(jnp.asarray(warmup_steps), 1)
        return jnp.where(count < warmup_steps, rising, decayed)

    return schedule


def make_optimizer(
    name: str,
    schedule: optax.Schedule,
    *,
    momentum: ArrayLike,
    b1: ArrayLike,
    b2: ArrayLike,
    weight_decay: float | jax.Array,
    backbone_factor: ArrayLike,
    clip_norm: ArrayLike | None,
    norm_decay: float | jax.Array | None = None,
    bias_decay: float | jax.Array | None = None,
    layer_factor: ArrayLike = 1.0,
    frozen: Collection[str] = (),
) -> optax.GradientTransformation:
    """Builds the optimizer: clip, one of `OPTIMIZERS`, then the factors of parts.

    - sgd: weight decay is added to the (clipped) gradient *before* the momentum,
      coupled as in torch and mmsegmentation: m ← μ·m + g + λ·w, then w ← w - lr·m.
    - adamw: decoupled decay (Loshchilov & Hutter 2019, algorithm 2), multiplied by the
      learning rate as in torch: w ← w - lr·(adam(g) + λ·w), with ε = 1e-8.
    - muon: as adamw, with the directions of `muon.scale_by_orthogonalization`.

    `backbone_factor` multiplies the finished update of everything under the top-level
    key `backbone`: it is a factor on that part's learning rate, hence on its decay too.
    So is `layer_factor`, to the power of the layers that a signal still has to pass
    (Clark 2020, sec. 3.3; as layers blocks).

    Args:
        name: one of `OPTIMIZERS`.
        schedule: learning rate by the number of updates made.
        momentum: of sgd and muon.
        b1: of adamw, decay of the first moment.
        b2: of adamw, decay of the second moment.
        weight_decay: λ of kernels, but for those of gates.
        backbone_factor: learning rate of the backbone over that of the rest.
        clip_norm: largest global norm of the gradient; None = no clipping.
        norm_decay: λ of scales and biases of norms; None = none.
        bias_decay: λ of the other biases; None = none.
        layer_factor: learning rate of a layer over that of the one behind it.
        frozen: stages of the backbone, or its stem, that stay as they are.

    Raises:
        UserError: an unknown name, or a clipping norm that is not above 0.
    """
    choose("optim.name", name, OPTIMIZERS)
    chain = []
    if clip_norm is not None:
        # A traced one has been checked with the config it comes from.
        if isinstance(clip_norm, float | int) and not clip_norm > 0:
            raise UserError(f"optim.clip_norm={clip_norm!r}: expected a number > 0")
        chain.append(optax.clip_by_global_norm(clip_norm))
    decay = [
        optax.add_decayed_weights(share, mask=groups.decays(group))
        for group, share in (
            (groups.KERNELS, weight_decay),
            (groups.NORMS, norm_decay),
            (groups.BIASES, bias_decay),
        )
        if share is not None
    ]
    if name == "sgd":
        chain += [*decay, optax.trace(momentum)]
    elif name == "adamw":
        chain += [optax.scale_by_adam(b1, b2), *decay]
    else:
        chain += [muon.scale_by_orthogonalization(momentum, b1, b2), *decay]
    chain.append(optax.scale_by_learning_rate(schedule))
    whole = optax.chain(*chain)

    def update(updates: Tree, state: Tree, params: Tree = None) -> tuple[Tree, Tree]:
        moved, state = whole.update(updates, state, params)
        moves: Any = moved
        if BACKBONE not in moves:
            raise ValueError(f"no top-level key {BACKBONE!r} in {sorted(moves)}")
        return groups.scaled(moves, backbone_factor, layer_factor, frozen), state

    return optax.GradientTransformation(whole.init, update)


def clip_factor(grad_norm: ArrayLike, clip_norm: ArrayLike | None) -> jax.Array:
    """The factor by which clipping multiplied a gradient of global norm `grad_norm`.

    It is min(1, `clip_norm` / `grad_norm`), and 1 without clipping. Logged beside the
    norm, it tells in which steps the optimizer saw another gradient than the log.
    """
    grad_norm = jnp.asarray(grad_norm)
    if clip_norm is None:
        return jnp.ones_like(grad_norm)
    # The larger of the two as the divisor: no division by a norm of zero.
    clip_norm = jnp.asarray(clip_norm, grad_norm.dtype)
    return clip_norm / jnp.maximum(grad_norm, clip_norm)


def ema_update(ema: Tree, params: Tree, decay: ArrayLike, step: ArrayLike) -> Tree:
    """Moves the averaged weights towards `params` after an update.

    The decay warms up, d = min(`decay`, (1 + `step`) / (10 + `step`)), so the average
    forgets the initial weights in a short run too: at step 0 it moves by 0.9 of the
    way. The result is d · `ema` + (1 - d) · `params`.

    Args:
        ema: averaged weights; start them as a copy of the initial parameters.
        params: parameters after the update.
        decay: limit of the decay, in [0, 1).
        step: updates made before this one; may be traced.
    """
    step = jnp.asarray(step, jnp.float32)
    warmed_up = jnp.minimum(decay, (1 + step) / (10 + step))
    return optax.incremental_update(params, ema, 1 - warmed_up)


def swa_update(
    average: Tree, params: Tree, start: ArrayLike, every: ArrayLike, step: ArrayLike
) -> Tree:
    """Averages weights evenly, from update `start` on (Izmailov 2018, algorithm 1).

    Until then the average is the weights themselves; then those after every `every`-th
    update count alike. Statistics of batch norms are not those of the average; the
    running ones of the last weights stand in for them.

    Args:
        average: so far.
        params: parameters after the update.
        start: number of updates after which the first weights are taken.
        every: updates between two that are averaged.
        step: updates made before this one; may be traced.
    """
    since = jnp.asarray(step, jnp.float32) + 1 - start
    taken = jnp.floor(jnp.maximum(since, 0) / every) + 1
    share = jnp.where(since % every == 0, 1 / taken, 0)
    return optax.incremental_update(params, average, jnp.where(since < 0, 1, share))


def averaged(average: Tree, params: Tree, numbers: Numbers, step: ArrayLike) -> Tree:
    """The average after an update, of the kind that the numbers are there for."""
    if "swa_start" in numbers:
        start, every = numbers["swa_start"], numbers["swa_every"]
        return swa_update(average, params, start, every, step)
    return ema_update(average, params, numbers["ema"], step)
