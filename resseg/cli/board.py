"""`resseg board`: a report that keeps up with training."""

import argparse
import signal
import tempfile
from pathlib import Path

from resseg.errors import UserError

SUMMARY = "show the newest report in a browser while runs go on"
EPILOG = """\
examples:
  resseg board runs/quickstart
  resseg board sweeps/shortcuts --port 9000
  resseg board runs   (a list, with a page for each)

Prints an address to open. The page is made again when a run has written something, and
loads itself again; what is chosen on it stays. Only this machine can see it (from
another: ssh -L 8710:127.0.0.1:8710 HOST), unless --host names another address, where
anybody who reaches it may read it. Nothing is written into DIR, and nothing is served
but the pages."""
_PORT = 8710


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments that `run` reads."""
    parser.add_argument("folder", metavar="DIR", help="run, sweep, or folder of them")
    parser.add_argument(
        "--port",
        type=int,
        default=_PORT,
        metavar="N",
        help=f"port, 0 for any that is free (default: {_PORT})",
    )
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        metavar="ADDRESS",
        help="address to listen at (default: 127.0.0.1, this machine alone)",
    )
    parser.add_argument(
        "--every",
        type=float,
        default=5.0,
        metavar="SECONDS",
        help="look for changes this often at most (default: 5)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Serves until Ctrl-C.

    Raises:
        UserError: DIR holds no runs; a number is out of range; the port is in use.
    """
    from resseg.report.board.builder import Builder
    from resseg.report.board.server import Server

    if not 0 <= arguments.port <= 65535:
        raise UserError(f"--port {arguments.port}: expected 0 to 65535")
    if not arguments.every >= 0.1:
        raise UserError(f"--every {arguments.every:g}: expected 0.1 seconds or more")
    with tempfile.TemporaryDirectory(
        prefix="resseg-board-", ignore_cleanup_errors=True
    ) as into:
        builder = Builder(Path(arguments.folder), Path(into), arguments.every)
        try:
            server = Server(arguments.host, arguments.port, builder)
        except OSError as error:
            where = f"--host {arguments.host} --port {arguments.port}"
            raise UserError(f"{where}: {error.strerror} (try --port 0)") from None
        # A second Ctrl-C, or the end of a session, ends it at once.
        signal.signal(signal.SIGTERM, _stop)
        builder.start()
        print(f"{arguments.folder} at {server.url} (Ctrl-C ends it)", flush=True)
        try:
            server.serve_forever(poll_interval=0.2)
        except KeyboardInterrupt:
            print()
        finally:
            server.server_close()
            builder.stop()
    return 0


def _stop(number: int, frame: object) -> None:
    raise KeyboardInterrupt
