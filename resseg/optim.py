"""Optimizers, learning-rate schedules and averaged weights.

Parameters are one tree whose top level names the parts of the network:
`{"backbone": {...}, "head": {...}, "aux": {...}}`.
"""

from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.typing import ArrayLike

from resseg.errors import UserError, choose

SCHEDULES = ("constant", "poly", "cosine")
OPTIMIZERS = ("sgd", "adamw")

Tree = Any


def make_schedule(
    name: str,
    learning_rate: float,
    steps: int,
    warmup_steps: int,
    poly_power: float,
    end_factor: float,
) -> optax.Schedule:
    """Builds the learning rate as a function of the number of updates made so far.

    Over the first `warmup_steps` updates the rate rises linearly from zero, so a run
    with a warm-up makes its first update with rate zero. Then, with t counted from the
    end of the warm-up, T = `steps` - `warmup_steps` and e = `end_factor`:

    - constant: the peak (`end_factor` is not used),
    - poly: peak × (e + (1 - e)·(1 - t/T)^`poly_power`) (for e = 0: DeepLabV3, Chen
      2017, sec. 4.1),
    - cosine: peak × (e + (1 - e)·(1 + cos(π t/T)) / 2) (Loshchilov & Hutter 2017,
      eq. 5).

    Poly and cosine are exactly e × peak at count `steps`, when the last update has been
    made; the last update itself, at count `steps - 1`, so still moves the weights where
    e is 0. A run that is shorter than its warm-up stays in the warm-up.

    Args:
        name: one of `SCHEDULES`.
        learning_rate: peak.
        steps: updates of the whole run, the warm-up included.
        warmup_steps: updates of the warm-up.
        poly_power: exponent of `poly`.
        end_factor: share of the peak at which the schedule ends.

    Raises:
        UserError: an unknown name.
    """
    choose("optim.schedule", name, SCHEDULES)
    decay_steps = max(steps - warmup_steps, 1)
    if name == "poly":
        decay = optax.polynomial_schedule(
            learning_rate, end_factor * learning_rate, poly_power, decay_steps
        )
    elif name == "cosine":
        decay = optax.cosine_decay_schedule(learning_rate, decay_steps, end_factor)
    else:
        decay = optax.constant_schedule(learning_rate)
    if warmup_steps == 0:
        return decay
    warmup = optax.linear_schedule(0.0, learning_rate, warmup_steps)
    return optax.join_schedules([warmup, decay], [warmup_steps])


def decay_mask(params: Tree) -> Tree:
    """True for the leaves that weight decay pulls to zero: kernels but those of gates.

    Zero is no neutral value of a norm scale, a bias, a gate or a factor of a path (a
    shortcut scaled to zero is a different network), so those are never decayed.
    """

    def decays(path: tuple, _: Any) -> bool:
        names = [entry.key for entry in path]
        return names[-1] == "kernel" and "gate" not in names

    return jax.tree_util.tree_map_with_path(decays, params)


def make_optimizer(
    name: str,
    schedule: optax.Schedule,
    *,
    momentum: float,
    b1: float,
    b2: float,
    weight_decay: float,
    backbone_factor: float,
    clip_norm: float | None,
) -> optax.GradientTransformation:
    """Builds the optimizer: clip, then sgd or adamw, then the backbone's factor.

    - sgd: weight decay is added to the (clipped) gradient *before* the momentum,
      coupled as in torch and mmsegmentation: m ← μ·m + g + λ·w, then w ← w - lr·m.
    - adamw: decoupled decay (Loshchilov & Hutter 2019, algorithm 2), multiplied by the
      learning rate as in torch: w ← w - lr·(adam(g) + λ·w), with ε = 1e-8.

    `backbone_factor` multiplies the finished update of everything under the top-level
    key `backbone`: it is a factor on that part's learning rate, hence on its decay too.

    Args:
        name: one of `OPTIMIZERS`.
        schedule: learning rate by the number of updates made.
        momentum: of sgd.
        b1: of adamw, decay of the first moment.
        b2: of adamw, decay of the second moment.
        weight_decay: λ, on the leaves that `decay_mask` names.
        backbone_factor: learning rate of the backbone over that of the rest.
        clip_norm: largest global norm of the gradient; None = no clipping.

    Raises:
        UserError: an unknown name, or a clipping norm that is not above 0.
    """
    choose("optim.name", name, OPTIMIZERS)
    chain = []
    if clip_norm is not None:
        if not clip_norm > 0:
            raise UserError(f"optim.clip_norm={clip_norm!r}: expected a number > 0")
        chain.append(optax.clip_by_global_norm(clip_norm))
    decay = optax.add_decayed_weights(weight_decay, mask=decay_mask)
    if name == "sgd":
        chain += [decay, optax.trace(momentum)]
    else:
        chain += [optax.scale_by_adam(b1, b2), decay]
    chain.append(optax.scale_by_learning_rate(schedule))
    if backbone_factor != 1.0:
        chain.append(_scale_backbone(backbone_factor))
    return optax.chain(*chain)


def _scale_backbone(factor: float) -> optax.GradientTransformation:
    def scaled(updates: Tree, params: Tree) -> Tree:
        del params
        if "backbone" not in updates:
            raise ValueError(f"no top-level key 'backbone' in {sorted(updates)}")
        return jax.tree_util.tree_map_with_path(
            lambda path, u: factor * u if path[0].key == "backbone" else u, updates
        )

    return optax.stateless(scaled)


def clip_factor(grad_norm: ArrayLike, clip_norm: float | None) -> jax.Array:
    """The factor by which clipping multiplied a gradient of global norm `grad_norm`.

    It is min(1, `clip_norm` / `grad_norm`), and 1 without clipping. Logged beside the
    norm, it tells in which steps the optimizer saw another gradient than the log.
    """
    grad_norm = jnp.asarray(grad_norm)
    if clip_norm is None:
        return jnp.ones_like(grad_norm)
    # The larger of the two as the divisor: no division by a norm of zero.
    return clip_norm / jnp.maximum(grad_norm, clip_norm)


def ema_update(ema: Tree, params: Tree, decay: float, step: ArrayLike) -> Tree:
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
