"""Lines of JSON over TCP, and how the loss of a host is noticed."""

import contextlib
import json
import socket
import threading
import time
from typing import Any, NamedTuple

from resseg.errors import UserError

_LONGEST = 2**24  # bytes of a line
_KEEPALIVE = {"TCP_KEEPIDLE": 5, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3}  # s, s, times
_AGAIN = 0.2  # seconds between tries to connect


class Name(NamedTuple):
    """What a process tells of itself."""

    process: int
    processes: int
    host: str
    number: int

    def __str__(self) -> str:
        return f"process {self.process} ({self.number} on {self.host})"


class Wire:
    """One connection. Any thread may send; one receives."""

    def __init__(self, connection: socket.socket):
        connection.settimeout(None)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in _KEEPALIVE.items():
            if hasattr(socket, option):  # not on every system
                number = getattr(socket, option)
                connection.setsockopt(socket.IPPROTO_TCP, number, value)
        self._connection, self._file = connection, connection.makefile("rb")
        self._sending = threading.Lock()

    def send(self, kind: str, value: Any) -> None:
        """Sends a message; nothing happens where the other is gone."""
        line = json.dumps([kind, value]).encode() + b"\n"
        with self._sending, contextlib.suppress(OSError):
            self._connection.sendall(line)

    def receive(self) -> tuple[str, Any] | None:
        """The next message; None where the other is gone."""
        try:
            line = self._file.readline(_LONGEST)
            kind, value = json.loads(line)
        except (OSError, ValueError, TypeError):
            return None
        return kind, value

    def end(self) -> None:
        """What was sent arrives; nothing comes any more. From any thread."""
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Ends it, and lets go of it; for the thread that receives."""
        self.end()
        self._file.close()
        self._connection.close()


def listen(port: int) -> socket.socket:
    """Waits at a port of all addresses of this host.

    Raises:
        UserError: it is taken.
    """
    family = socket.AF_INET6 if socket.has_dualstack_ipv6() else socket.AF_INET
    try:
        return socket.create_server(
            ("", port), family=family, dualstack_ipv6=family == socket.AF_INET6
        )
    except OSError as error:
        raise UserError(
            f"--coordinator: port {port} of this host is not free ({error.strerror}); "
            "choose another port, the same for all processes"
        ) from error


def connect(host: str, port: int, seconds: float) -> socket.socket:
    """Connects as soon as somebody listens.

    Raises:
        UserError: nobody has within so many seconds.
    """
    until = time.monotonic() + seconds
    while True:
        try:
            return socket.create_connection((host, port), timeout=10)
        except OSError as error:
            if time.monotonic() > until:
                raise UserError(
                    f"--coordinator: process 0 does not answer at {host}:{port} "
                    f"({error.strerror or error}) after {seconds:.0f} s"
                ) from error
        time.sleep(_AGAIN)
