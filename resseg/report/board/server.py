"""Answers a browser on this machine, with the pages of one folder and nothing else."""

import ipaddress
import socket
import sys
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

from resseg.report.board.builder import Builder
from resseg.report.board.live import plain

_PAGE, _VERSION = "report.html", "version"
_HEADERS = {
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


class Server(ThreadingHTTPServer):
    """Serves what a builder makes.

    Raises:
        OSError: the address cannot be had.
    """

    daemon_threads = True

    def __init__(self, host: str, port: int, builder: Builder):
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.host, self.builder = host, builder
        super().__init__((host, port), Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that has gone is no fault of ours; anything else is shown."""
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            super().handle_error(request, client_address)

    @property
    def url(self) -> str:
        """Where a browser finds it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.server_port}/"


def is_ours(header: str | None, host: str) -> bool:
    """Whether a Host header names this server.

    A page elsewhere can make its own name lead to this machine (DNS rebinding); the
    browser then sends that name. Numbers and localhost cannot be bent like that.
    """
    if header is None:
        return False
    try:
        name = urlsplit(f"//{header}").hostname or ""
    except ValueError:
        return False
    if name in ("localhost", host.lower()):
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


class Handler(BaseHTTPRequestHandler):
    """GET and HEAD of known addresses; no part of one reaches the file system."""

    server: Server  # pyright: ignore[reportIncompatibleVariableOverride]
    server_version, sys_version = "resseg", ""
    timeout = 30  # seconds that a connection may be silent

    def do_GET(self) -> None:
        self._answer()

    def do_HEAD(self) -> None:
        self._answer()

    def _refuse(self) -> None:
        self._send(
            HTTPStatus.METHOD_NOT_ALLOWED, "GET and HEAD only\n", Allow="GET, HEAD"
        )

    do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = _refuse

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: a page that asks every few seconds would fill the terminal."""

    def _answer(self) -> None:
        if not is_ours(self.headers.get("Host"), self.server.host):
            self._send(HTTPStatus.FORBIDDEN, "the Host header names another server\n")
            return
        address = unquote(self.path.partition("?")[0])
        folder, _, last = address.rpartition("/")
        version = last == _VERSION
        if version:
            address = f"{folder}/{_PAGE}" if folder else "/"
        found = self.server.builder.ask(address)
        if found is None:
            self._send(HTTPStatus.NOT_FOUND, "there is no such page\n")
            return
        number, file = found
        if version:
            self._send(HTTPStatus.OK, f"{number}\n")
        elif file is None:
            page = plain(
                "The page is being made …", "It shows up by itself.", seconds=1
            )
            self._send(HTTPStatus.OK, page, "text/html")
        else:
            try:
                text = file.read_text(encoding="utf-8")
            except FileNotFoundError:  # a newer one has just taken its place
                text = plain("One moment …", seconds=1)
            self._send(HTTPStatus.OK, text, "text/html")

    def _send(
        self, status: HTTPStatus, text: str, kind: str = "text/plain", **headers: str
    ) -> None:
        body = text.encode("utf-8")
        self.send_response(status)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        for name, value in (_HEADERS | headers).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
