"""The gradient of a batch in parts, one after another, so that one lies in memory."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from resseg.data import VOID
from resseg.gradients.measure import Measured

LossOf = Callable[..., tuple[jax.Array, Any]]


def in_parts(
    parts: int, loss_of: LossOf, measured: Callable[..., Measured], taps: Any
) -> Callable[[Any, Mapping[str, jax.Array], jax.Array], Measured]:
    """Builds `(state, batch, key) -> (value, aside), gradients, forks` of a batch.

    Part i holds every `parts`-th image from the i-th on, so that each device keeps its
    own. A part counts by its share of the batch's valid pixels: pixel-wise losses,
    their gradients and what forks measure are then those of the whole batch. What looks
    at a batch as a whole sees a part: batch norm, whose running statistics also move
    once per part, and the Dice loss.

    Args:
        parts: that the batch is cut into; 1 = the whole batch at once.
        loss_of: `(state, batch, key, params, collections) -> (value, (terms,
            batch_stats, confusion, joins))`.
        measured: back end of the measurement.
        taps: as for `make_train_step`.
    """

    def whole(state, batch, key):
        def loss(params, measuring):
            return loss_of(state, batch, key, params, measuring)

        return measured(loss, state.params, taps)

    def one(state, batch_stats, part, key):
        """Batch statistics after a part, and what adds up."""
        number, share, batch = part

        def loss(params, measuring):
            now = state.replace(batch_stats=batch_stats)
            drawn = jax.random.fold_in(key, number)
            value, aside = loss_of(now, batch, drawn, params, measuring)
            return share * value, aside

        (value, aside), gradients, forks = measured(loss, state.params, taps)
        terms, batch_stats, confusion, joins = aside
        counted = {"loss_pixels": terms["loss_pixels"]}
        terms = {name: share * term for name, term in terms.items()} | counted
        joins = jax.tree.map(lambda mean: mean / parts, joins)
        return batch_stats, (value, terms, confusion, joins, gradients, forks)

    def run(state, batch, key):
        cut = jax.tree.map(_cut, dict(batch))
        pixels = jnp.sum(cut["label"] != VOID, axis=(1, 2, 3), dtype=jnp.int32)
        shares = pixels / jnp.maximum(pixels.sum(), 1)

        def add(carried, part):
            batch_stats, sums = carried
            batch_stats, found = one(state, batch_stats, part, key)
            return (batch_stats, jax.tree.map(jnp.add, sums, found)), None

        each = jnp.arange(parts), shares, cut
        first = jax.tree.map(lambda array: array[0], each)
        _, shapes = jax.eval_shape(one, state, state.batch_stats, first, key)
        none = jax.tree.map(lambda of: jnp.zeros(of.shape, of.dtype), shapes)
        batch_stats, sums = _one_by_one(add, (state.batch_stats, none), each)
        value, terms, confusion, joins, gradients, forks = sums
        return (value, (terms, batch_stats, confusion, joins)), gradients, forks

    def _cut(array):
        split = array.reshape(-1, parts, *array.shape[1:])
        return jnp.moveaxis(split, 1, 0)

    def _one_by_one(add, carried, each):
        if jax.default_backend() != "cpu":
            return jax.lax.scan(add, carried, each)[0]
        # Convolutions inside a loop are five times as slow on a CPU (JAX 0.12). The
        # barrier keeps a part from beginning before the one before it has ended.
        for number in range(parts):
            part = jax.tree.map(lambda array, number=number: array[number], each)
            carried, part = jax.lax.optimization_barrier((carried, part))
            carried, _ = add(carried, part)
        return carried

    return whole if parts == 1 else run
