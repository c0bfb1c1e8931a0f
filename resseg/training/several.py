"""What has to hold where several processes train one run, before they do."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from resseg import sharding
from resseg.config.keys import flatten
from resseg.data.replacing import SKIP
from resseg.errors import UserError
from resseg.processes.group import Group
from resseg.runs import layout
from resseg.training.guard import STOP

_OWN = ("data.dir", "data.threads", "data.workers", "data.cache")  # of each host
_SHOWS = 20.0  # seconds in which a file server shows what another host has written


def check_config(config: Any, mesh: jax.sharding.Mesh, group: Group) -> None:
    """That a config is one that several processes can train.

    Raises:
        UserError: it is not; never for a process alone.
    """
    if group.processes == 1:
        return
    here = f"where {group.processes} processes train together"
    if config.train.on_nonfinite != STOP:
        raise UserError(
            f"config.train.on_nonfinite={config.train.on_nonfinite!r}: expected "
            f"{STOP!r} {here}"
        )
    if config.data.on_error == SKIP:
        raise UserError(f"config.data.on_error={SKIP!r}: expected 'stop' {here}")
    space, own = mesh.shape[sharding.SPACE], jax.local_device_count()
    if own % space:
        raise UserError(
            f"config.mesh.space={space}: expected a divisor of {own}, the devices of "
            f"a process, {here}"
        )
    devices = jax.device_count()
    if mesh.size != devices:
        raise UserError(
            f"config.mesh.data={config.mesh.data}: expected {devices}, the number of "
            f"all devices, or 0, {here}"
        )


def check_same(config: Any, dataset: Mapping[str, Any], group: Group) -> None:
    """That all processes were given the same config, and see the same images.

    Raises:
        UserError: they were not; the message names what differs.
    """
    values = {k: v for k, v in flatten(config).items() if k not in _OWN}
    facts = {f"config.{key}": repr(value) for key, value in values.items()}
    facts |= {f"a data set with {key}": repr(value) for key, value in dataset.items()}
    first, *others = group.gather(facts)
    for number, other in enumerate(others, start=1):
        for key in first:
            if first[key] != other.get(key):
                raise UserError(
                    f"process {number} has {key} {_short(other.get(key))}, process 0 "
                    f"{_short(first[key])}: expected the same for all processes"
                )


def check_folder(folder: Path, group: Group) -> None:
    """That all processes see the folder that the first has begun to write to.

    Raises:
        UserError: one does not.
    """
    file = folder / layout.ENVIRONMENT
    written = group.by_first(file.read_text)
    seen, until = _sees(file, written), time.monotonic() + _SHOWS
    while not seen and time.monotonic() < until:
        time.sleep(0.1)
        seen = _sees(file, written)
    blind = [number for number, sees in enumerate(group.gather(seen)) if not sees]
    if blind:
        raise UserError(
            f"--workdir {folder}: process {blind[0]} does not see what process 0 "
            "writes there; expected a folder that all hosts share"
        )


def connect(mesh: jax.sharding.Mesh, group: Group) -> None:
    """Lets the devices of all processes find each other, before one waits for another.

    Those that sum together connect at their first sum, where XLA waits for 30 s and no
    longer; later it waits for as long as it takes. So their first sums are these, which
    compile at once, and not those of a train step, which compiles for minutes, here
    sooner and there later.
    """
    if group.processes == 1:
        return
    axes, everywhere = (sharding.DATA, sharding.SPACE), sharding.by_image(mesh)
    ones = sharding.put(np.ones(mesh.size, np.float32), everywhere)

    def sums(x: jax.Array) -> list[jax.Array]:
        return [jax.lax.psum(x, names) for names in (axes, *axes)]

    shared = jax.shard_map(
        sums, mesh=mesh, in_specs=everywhere.spec, out_specs=everywhere.spec
    )
    compiled = jax.jit(shared).lower(ones).compile()
    group.gather(None)
    jax.block_until_ready(compiled(ones))


def _sees(file: Path, written: str) -> bool:
    try:
        return file.read_text() == written
    except OSError:
        return False


def _short(value: str | None) -> str:
    text = "missing" if value is None else value
    return text if len(text) < 80 else f"{text[:60]}..."
