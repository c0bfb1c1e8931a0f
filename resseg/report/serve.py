"""Answers a browser on this machine, with the pages of one folder and nothing else."""

import sys
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote

from resseg.report.watch import Pages

_HEADERS = {
    "Allow": "GET, HEAD",
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


class Server(ThreadingHTTPServer):
    """Serves the pages of a folder to this machine alone.

    Raises:
        OSError: the port cannot be had.
    """

    daemon_threads = True

    def __init__(self, port: int, pages: Pages):
        self.pages = pages
        super().__init__(("127.0.0.1", port), Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that has gone is no fault of ours; anything else is shown."""
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            super().handle_error(request, client_address)


class Handler(BaseHTTPRequestHandler):
    """GET and HEAD of known addresses; no part of one reaches the file system.

    `ADDRESS` is a page, `ADDRESS?version` the version of it that is there now.
    """

    server: Server  # pyright: ignore[reportIncompatibleVariableOverride]
    server_version, sys_version = "resseg", ""
    timeout = 30  # seconds that a connection may be silent

    def do_GET(self) -> None:
        address, _, query = self.path.partition("?")
        host = self.headers.get("Host", "").partition(":")[0]
        # A page elsewhere can make a name of its own lead to this machine (DNS
        # rebinding); the browser then sends that name.
        if host.lower() not in ("127.0.0.1", "localhost"):
            self._send(HTTPStatus.FORBIDDEN, "the Host header names another server\n")
        elif (page := self.server.pages.get(unquote(address))) is None:
            self._send(HTTPStatus.NOT_FOUND, "there is no such page\n")
        elif query == "version":
            self._send(HTTPStatus.OK, page.version)
        else:
            self._send(HTTPStatus.OK, page.text, "text/html")

    def do_POST(self) -> None:
        self._send(HTTPStatus.METHOD_NOT_ALLOWED, "GET and HEAD only\n")

    do_HEAD = do_GET
    do_PUT = do_PATCH = do_DELETE = do_OPTIONS = do_POST

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: a page that asks every few seconds would fill the terminal."""

    def _send(self, status: HTTPStatus, text: str, kind: str = "text/plain") -> None:
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        for name, value in _HEADERS.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
