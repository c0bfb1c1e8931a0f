"""A port of this host alone that stands for one of another host.

The client of JAX ends its process from C++, with status 134 and a stack, at the moment
that its coordinator is gone: before anyone could say who is, or end with a status that
launchers know. Behind a relay it does not see that, and we do. It is a process of its
own, since JAX may hold Python's lock while it waits for an answer of the coordinator.

    python relay.py HOST PORT

prints its port, and ends with what it reads from.
"""

import contextlib
import socket
import subprocess
import sys
import threading


def start_relay(host: str, port: int) -> int:
    """Starts one that lives as long as this process; returns its port."""
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", __file__, host, str(port)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,  # Ctrl-C is for us, and it is needed until our end
    )
    _started.append(process)
    assert process.stdout is not None
    return int(process.stdout.readline())


_started: list[subprocess.Popen] = []


def _main(host: str, port: str) -> None:
    server = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=_accept, args=(server, host, port), daemon=True).start()
    print(server.getsockname()[1], flush=True)
    sys.stdin.buffer.read()


def _accept(server: socket.socket, host: str, port: str) -> None:
    while True:
        near, _ = server.accept()
        try:
            far = socket.create_connection((host, int(port)), timeout=10)
        except OSError:
            near.close()
            continue
        far.settimeout(None)
        for one, other in ((near, far), (far, near)):
            threading.Thread(target=_pump, args=(one, other), daemon=True).start()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    """Passes on what comes, but not that nothing more will."""
    with contextlib.suppress(OSError):
        while data := source.recv(2**16):
            sink.sendall(data)


if __name__ == "__main__":
    _main(*sys.argv[1:])
