"""The mesh, and where arrays live on it. The only module that makes a mesh."""

import os
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from resseg.errors import UserError

DATA, SPACE = "data", "space"
LEFT = (0, -1)  # as a number of devices: what the other axis leaves
VARIANTS = "variants"


def devices() -> list[Any]:
    """All that JAX computes on.

    Raises:
        UserError: it finds none of the kind that it is told to use.
    """
    try:
        return jax.devices()
    except Exception as error:  # an AssertionError without words, among others
        named = os.environ.get("JAX_PLATFORMS", "")
        reason = str(error).partition(" (set JAX_PLATFORMS")[0] or "there is none here"
        raise UserError(
            f"JAX_PLATFORMS={named!r}: {reason}; expected the kind of a device of this "
            "machine, such as cpu, or nothing for the best there is"
        ) from error


def make_mesh(data: int = 0, space: int = 1) -> Mesh:
    """Axes `data` and `space`: images of a batch, and the height of each.

    Args:
        data: devices that share a batch; 0 or -1 = as many as there are for it.
        space: devices that share an image; -1 = as many as there are for it.

    Raises:
        UserError: there are fewer devices, or none that JAX may use; or those there are
            cannot be shared out evenly.
    """
    available = len(devices())
    there = f"{available}, the number of {jax.devices()[0].device_kind} devices here"

    def left_by(key: str, count: int) -> int:
        if available % count:
            raise UserError(
                f"config.mesh.{key}={count}: expected a divisor of {there}, where the "
                "other axis has what is left"
            )
        return available // count

    if data in LEFT:
        data = left_by("space", max(space, 1))
    if space in LEFT:
        space = left_by("data", data)
    if data * space > available:
        fields = f"config.mesh.data={data}"
        if space > 1:
            fields += f" times config.mesh.space={space}"
        raise UserError(f"{fields}: expected at most {there}, or 0 for all")
    return jax.make_mesh(
        (data, space),
        (DATA, SPACE),
        axis_types=(AxisType.Auto, AxisType.Auto),
        devices=jax.devices()[: data * space],
    )


def variants_mesh(mesh: Mesh, count: int) -> Mesh:
    """One axis, `variants`, over devices of `mesh` that share `count` runs evenly.

    No more devices than it takes: five runs on four devices are two, two and one.
    """
    each = -(-count // mesh.size)
    devices = list(mesh.devices.flat)[: -(-count // each)]
    return jax.make_mesh(
        (len(devices),), (VARIANTS,), axis_types=(AxisType.Auto,), devices=devices
    )


def replicated(mesh: Mesh) -> NamedSharding:
    """The whole array on every device."""
    return NamedSharding(mesh, PartitionSpec())


def by_batch(mesh: Mesh) -> NamedSharding:
    """The first axis split over the data axis; over space, if any, the height."""
    height = (SPACE,) if mesh.shape[SPACE] > 1 else ()
    return NamedSharding(mesh, PartitionSpec(DATA, *height))


def by_image(mesh: Mesh) -> NamedSharding:
    """The first axis split over all devices: whole images on each."""
    return NamedSharding(mesh, PartitionSpec((DATA, SPACE)))


def by_variant(mesh: Mesh) -> NamedSharding:
    """The first axis split over the variants axis."""
    return NamedSharding(mesh, PartitionSpec(VARIANTS))


def put(tree: Any, sharding: NamedSharding) -> Any:
    """Arrays that every process has whole -> global ones, placed by `sharding`."""
    if sharding.is_fully_addressable:
        return jax.device_put(tree, sharding)

    def place(array: Any) -> jax.Array:
        array = np.asarray(array)
        return jax.make_array_from_callback(array.shape, sharding, lambda at: array[at])

    return jax.tree.map(place, tree)


def readable(split: NamedSharding) -> NamedSharding:
    """`split`, or the whole array where not every part of it is on a device of ours."""
    if split.is_fully_addressable:
        return split
    return NamedSharding(split.mesh, PartitionSpec())


def put_batch(
    batch: Mapping[str, np.ndarray], sharding: NamedSharding
) -> dict[str, jax.Array]:
    """This process's part of a batch -> global arrays, split by `sharding`."""
    return {
        name: jax.make_array_from_process_local_data(sharding, value)
        for name, value in batch.items()
    }


def words(mesh: Mesh) -> str:
    """Number and kind of the devices: `8 x TPU v4, 2 to an image`."""
    shared = f", {mesh.shape[SPACE]} to an image" if mesh.shape[SPACE] > 1 else ""
    return f"{mesh.size} x {mesh.devices.flat[0].device_kind}{shared}"


def describe(mesh: Mesh) -> dict[str, Any]:
    """What the run folder says of the devices."""
    device = mesh.devices.flat[0]
    return {
        "platform": device.platform,
        "kind": device.device_kind,
        "count": mesh.size,
        "mesh": dict(mesh.shape),
        "processes": jax.process_count(),
    }
