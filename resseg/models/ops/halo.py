"""Operations on images whose rows lie on several devices.

XLA splits them too, and not always right: see "What was measured about splitting the
height of images" in `docs/architecture.md`. So here every device is handed the rows
around its own, the halo, by the devices that hold them, and computes its own rows as
one device would compute them all. The gradient of a halo goes back to where it is from.
"""

import contextlib
import contextvars
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding, PartitionSpec

HEIGHT = 1  # axis of an image batch
EDGE = None  # outside of an image: its outermost row again

_split: contextvars.ContextVar[NamedSharding | None]
_split = contextvars.ContextVar("split", default=None)


@contextlib.contextmanager
def splitting(split: NamedSharding | None) -> Iterator[None]:
    """Programs traced in here are for image batches that are split so.

    Args:
        split: of batch and height, the first two axes; None, or of the batch alone:
            programs are as ever.
    """
    splits = split is not None and len(split.spec) > HEIGHT
    token = _split.set(split if splits else None)
    try:
        yield
    finally:
        _split.reset(token)


def is_split() -> bool:
    """Whether a program is traced for images whose rows lie on several devices."""
    return _split.get() is not None


def on_rows(
    operation: Callable[..., jax.Array],
    x: jax.Array,
    *weights: jax.Array,
    reach: int = 0,
    strides: int = 1,
    outside: float | None = 0.0,
    trims: bool = True,
) -> jax.Array:
    """`operation(x, *weights)`, by each device for its own rows.

    Args:
        operation: from `[batch, h, w, c]` to `[batch, h / strides, ...]`, or to a
            multiple of h where it enlarges.
        x: its image batch.
        weights: whole on every device.
        reach: of rows around its own that an output depends on.
        strides: of the operation.
        outside: what it sees above and below the image: a number, or `EDGE`.
        trims: whether its results for the halo are to be cut off; it has none where
            it does not pad.

    Raises:
        ValueError: devices do not get as many rows each, or rows that `strides` does
            not divide.
    """
    split = _split.get()
    if split is None:
        return operation(x, *weights)
    _, axis = split.spec
    rows = x.shape[HEIGHT] / split.mesh.shape[axis]
    if rows % strides:
        raise ValueError(
            f"{x.shape[HEIGHT]} rows, strides {strides}: {rows:g} on each of "
            f"{split.mesh.shape[axis]} devices"
        )
    halo = -(-reach // strides) * strides

    def on_own(own: jax.Array, *weights: jax.Array) -> jax.Array:
        seen = _with_halo(own, halo, outside, axis) if halo else own
        y = operation(seen, *weights)
        margin = halo * y.shape[HEIGHT] // seen.shape[HEIGHT] if trims else 0
        return jax.lax.slice_in_dim(y, margin, y.shape[HEIGHT] - margin, axis=HEIGHT)

    return jax.shard_map(
        on_own,
        mesh=split.mesh,
        in_specs=(split.spec, *[PartitionSpec()] * len(weights)),
        out_specs=split.spec,
        # It knows the types of neither barriers nor rules of our own for gradients.
        check_vma=False,
    )(x, *weights)


def _with_halo(own, halo, outside, axis):
    """The rows of a device and as many around them, of an axis of devices."""
    rows, count = own.shape[HEIGHT], jax.lax.axis_size(axis)
    place = jax.lax.axis_index(axis)

    def beyond(row):
        shape = (*row.shape[:HEIGHT], halo, *row.shape[HEIGHT + 1 :])
        if outside is EDGE:
            return jnp.broadcast_to(row, shape)
        return jnp.full(shape, outside, row.dtype)

    if halo > rows:  # further than the next device
        whole = jax.lax.all_gather(own, axis, axis=HEIGHT, tiled=True)
        above, below = beyond(whole[:, :1]), beyond(whole[:, -1:])
        whole = jnp.concatenate([above, whole, below], HEIGHT)
        size = rows + 2 * halo
        return jax.lax.dynamic_slice_in_dim(whole, place * rows, size, HEIGHT)
    down = [(i, i + 1) for i in range(count - 1)]
    up = [(after, before) for before, after in down]
    from_above = jax.lax.ppermute(own[:, rows - halo :], axis, down)
    from_below = jax.lax.ppermute(own[:, :halo], axis, up)
    above = jnp.where(place == 0, beyond(own[:, :1]), from_above)
    below = jnp.where(place == count - 1, beyond(own[:, -1:]), from_below)
    return jnp.concatenate([above, own, below], HEIGHT)
