"""The mesh, and where arrays live on it. The only module that makes a mesh."""

import os
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from resseg.errors import UserError

DATA = "data"
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


def make_mesh(data: int = 0) -> Mesh:
    """One axis, `data`, over `data` devices; 0 = all there are.

    Raises:
        UserError: there are fewer devices, or none that JAX may use.
    """
    available = len(devices())
    if data > available:
        kind = jax.devices()[0].device_kind
        raise UserError(
            f"config.mesh.data={data}: expected at most {available}, the number of "
            f"{kind} devices here, or 0 for all"
        )
    count = data or available
    return jax.make_mesh(
        (count,), (DATA,), axis_types=(AxisType.Auto,), devices=jax.devices()[:count]
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
    """The first axis split over the data axis."""
    return NamedSharding(mesh, PartitionSpec(DATA))


def by_variant(mesh: Mesh) -> NamedSharding:
    """The first axis split over the variants axis."""
    return NamedSharding(mesh, PartitionSpec(VARIANTS))


def put_batch(
    batch: Mapping[str, np.ndarray], sharding: NamedSharding
) -> dict[str, jax.Array]:
    """This process's part of a batch -> global arrays, split by `sharding`."""
    return {
        name: jax.make_array_from_process_local_data(sharding, value)
        for name, value in batch.items()
    }


def describe(mesh: Mesh) -> dict[str, Any]:
    """What the run folder says of the devices."""
    device = mesh.devices.flat[0]
    return {
        "platform": device.platform,
        "kind": device.device_kind,
        "count": mesh.size,
        "processes": jax.process_count(),
    }
