"""Which process of how many this one is: from options, the environment or Slurm."""

import re
from collections.abc import Mapping
from typing import NamedTuple

from resseg.errors import UserError

# What an option sets, and the variable that sets it where the option is not there.
COORDINATOR = ("--coordinator", "JAX_COORDINATOR_ADDRESS")
PROCESSES = ("--processes", "JAX_NUM_PROCESSES")
PROCESS = ("--process", "JAX_PROCESS_ID")
_FIRST_PORT, _PORTS = 49152, 16000  # that a job of Slurm takes its own from
_LAST_PORT = 65534  # the one after it is taken too


class Membership(NamedTuple):
    """One of several processes.

    Attributes:
        host, port: where process 0 listens; it listens at `port` + 1, too.
        processes: how many there are.
        process: which this one is, from 0.
    """

    host: str
    port: int
    processes: int
    process: int


def find(
    coordinator: str | None,
    processes: int | None,
    process: int | None,
    environment: Mapping[str, str],
) -> Membership | None:
    """What this process is; None where it trains alone.

    Args:
        coordinator: `HOST:PORT`, as the option says; None = it was not given. So the
            others.
        processes: how many there are.
        process: which this one is.
        environment: variables of this process; Slurm's count where no other is set.

    Raises:
        UserError: something is missing, or wrong.
    """
    ways = (COORDINATOR, PROCESSES, PROCESS)
    given = (coordinator, processes, process)
    found = [
        (option, str(value)) if value is not None else _variable(name, environment)
        for (option, name), value in zip(ways, given, strict=True)
    ]
    set_ones = [each for each in found if each is not None]
    if not set_ones:
        return _of_slurm(environment)
    if len(set_ones) < len(ways):
        missing = [
            " or ".join(way) for way, each in zip(ways, found, strict=True) if not each
        ]
        raise UserError(
            f"several processes: expected {', '.join(missing)} too; to train alone, "
            "set none of them"
        )
    address, of, number = set_ones
    host, port = _address(*address)
    count = _number(*of, 1, 2**16)
    process = _number(*number, 0, count - 1)
    return Membership(host, port, count, process) if count > 1 else None


def _variable(name: str, environment: Mapping[str, str]) -> tuple[str, str] | None:
    value = environment.get(name, "")
    return (name, value) if value else None


def _address(source: str, text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not (colon and host and port.isdecimal() and 0 < int(port) <= _LAST_PORT):
        raise UserError(
            f"{source}={text!r}: expected HOST:PORT, the host of process 0 and a port "
            f"from 1 to {_LAST_PORT} that is free there, as is the one after it"
        )
    return host.strip("[]"), int(port)


def _number(source: str, text: str, least: int, most: int) -> int:
    if not text.isdecimal() or not least <= int(text) <= most:
        raise UserError(f"{source}={text!r}: expected a number from {least} to {most}")
    return int(text)


def _of_slurm(environment: Mapping[str, str]) -> Membership | None:
    """As `srun` started it; what stands in a batch script itself is alone."""
    count = environment.get("SLURM_STEP_NUM_TASKS", "1")
    if not count.isdecimal() or int(count) == 1:
        return None
    job, step = (int(environment[f"SLURM_{name}_ID"]) for name in ("JOB", "STEP"))
    # An even number, so that no other step has the one after it.
    port = _FIRST_PORT + 2 * ((31 * job + step) % (_PORTS // 2))
    host = first_host(environment["SLURM_STEP_NODELIST"])
    return Membership(host, port, int(count), int(environment["SLURM_PROCID"]))


def first_host(nodes: str) -> str:
    """The first of a list as Slurm writes it: "gpu[07-09,12]-a,cpu1" -> "gpu07-a"."""
    found = re.match(r"([^,\[]*)(?:\[([^,\-\]]+)[^\]]*\])?([^,\[]*)", nodes)
    return "".join(part or "" for part in found.groups()) if found else nodes
