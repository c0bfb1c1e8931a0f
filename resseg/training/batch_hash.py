"""A number that stands for a batch as the step saw it: for the log."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp

_EVERY = 8  # of so many rows of an image one is read, to cost nothing beside a step
_SPREAD, _FIRST, _SECOND = 0x9E3779B1, 0x85EBCA6B, 0xC2B2AE35  # odd
_SHIFT = 15


def batch_hash(batch: Mapping[str, jax.Array]) -> jax.Array:
    """Equal for equal images and labels in equal order; else it hardly is.

    Every entry that is read is mixed with its place in the global batch, and what comes
    of that is added up in integers: in whatever order devices do it, the sum is the
    same. It tells one batch from another, crops and colours included. A change of a
    few pixels it may miss, as it reads every eighth row of an image, from the first.

    Args:
        batch: "image" float32 `[batch, height, width, 3]` and "label" int32 `[batch,
            height, width]`.

    Returns:
        uint32 `[]`.
    """
    image = jax.lax.bitcast_convert_type(
        batch["image"][:, ::_EVERY].astype(jnp.float32), jnp.uint32
    )
    label = batch["label"][:, ::_EVERY].astype(jnp.uint32)
    return _sum(image) * jnp.uint32(_SPREAD) + _sum(label)


def as_text(value: int) -> str:
    """As it stands in the log: eight hexadecimal digits."""
    return f"{int(value):08x}"


def _sum(entries: jax.Array) -> jax.Array:
    place, size = jnp.zeros(entries.shape, jnp.uint32), 1
    for axis in reversed(range(entries.ndim)):
        steps = jax.lax.broadcasted_iota(jnp.uint32, entries.shape, axis)
        place += steps * jnp.uint32(size)
        size *= entries.shape[axis]
    mixed = (entries ^ (place * jnp.uint32(_SPREAD))) * jnp.uint32(_FIRST)
    mixed = (mixed ^ (mixed >> _SHIFT)) * jnp.uint32(_SECOND)
    return jnp.sum(mixed, dtype=jnp.uint32)
