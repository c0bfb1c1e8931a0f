"""How the processes that train one run find each other."""

import os
import socket
import time
from collections.abc import Sequence
from typing import Any

from resseg.errors import UserError
from resseg.processes.group import Connected
from resseg.processes.membership import Membership
from resseg.processes.wire import Name, Wire, connect, listen

START = 300.0  # seconds in which all have to be there
HELLO, REFUSED = "hello", "refused"


def join(membership: Membership, seconds: float = START) -> Connected:
    """Connects with the other processes; waits until all are there.

    Raises:
        UserError: one is missing after so many seconds, or there are two of a number.
    """
    own = Name(
        membership.process, membership.processes, os.uname().nodename, os.getpid()
    )
    if own.process == 0:
        wires = _accept(own, membership.port + 1, seconds)
        for _, wire in wires.values():
            wire.send(HELLO, own)
    else:
        wire = Wire(connect(membership.host, membership.port + 1, seconds))
        wire.send(HELLO, own)
        answer = wire.receive()
        if answer is None or answer[0] != HELLO:
            wire.close()
            raise UserError(f"several processes: {answer[1] if answer else _ENDED}")
        wires = {0: (Name(*answer[1]), wire)}
    return Connected(own, wires)


_ENDED = "process 0 ended before all were there; what it said is the reason"


def _accept(own: Name, port: int, seconds: float) -> dict[int, tuple[Name, Wire]]:
    found: dict[int, tuple[Name, Wire]] = {}
    until = time.monotonic() + seconds
    with listen(port) as server:
        while len(found) < own.processes - 1:
            server.settimeout(max(until - time.monotonic(), 0.01))
            try:
                connection, _ = server.accept()
            except TimeoutError:
                missing = sorted({*range(1, own.processes)} - found.keys())
                fault = f"{_listed(missing)} of {own.processes} not there"
                raise _refused(found, f"{fault} after {seconds:.0f} s") from None
            name, wire = _greeted(connection)
            if name is None:
                wire.close()  # a stranger
                continue
            fault = _fault(own, name, found)
            if fault:
                raise _refused({**found, -1: (name, wire)}, fault)
            found[name.process] = name, wire
    return dict(sorted(found.items()))


def _refused(found: dict[int, tuple[Name, Wire]], fault: str) -> UserError:
    """Tells those that are there, too."""
    for _, wire in found.values():
        wire.send(REFUSED, fault)
        wire.close()
    return UserError(f"several processes: {fault}")


def _greeted(connection: socket.socket) -> tuple[Name | None, Wire]:
    wire = Wire(connection)
    connection.settimeout(10)
    message = wire.receive()
    connection.settimeout(None)
    if message is None or message[0] != HELLO:
        return None, wire
    return Name(*message[1]), wire


def _fault(own: Name, name: Name, found: dict[int, Any]) -> str:
    if name.processes != own.processes:
        return f"{name} counts {name.processes} of them, {own} {own.processes}"
    if name.process in found or name.process == 0:
        other = found[name.process][0] if name.process else own
        return f"{other} and {name} have the same number"
    return ""


def _listed(numbers: Sequence[int]) -> str:
    many = len(numbers) > 1
    names = ", ".join(map(str, numbers))
    return f"process{'es' if many else ''} {names}"
