"""A witness's HTTP service on the standard library's server.

    POST /add-checkpoint                  200 with the cosignature, or 400, 403, 404, 409, 422 as specified
    GET /SHA-256 of an origin/checkpoint  the last checkpoint cosigned of a log, for monitors

Requests are short and rare, so one thread a connection does. What keeps a single sender from taking all of
it: sizes are checked before a body is read, every read has a deadline, and connections beyond a limit are
closed.
It speaks plain HTTP; encryption and a limit on requests per sender are a reverse proxy's to add.

References:
  C2SP tlog-witness v1, sections "add-checkpoint" and "Monitor Retrieval Mechanism".
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import BoundedSemaphore
from typing import Any

from relayjax.errors import ConfigError, RelayError
from relayjax.ledger.witness import REQUEST_LIMIT, Refusal
from relayjax.ledger.witness_store import Witness

_TIMEOUT = 10.0
"""Seconds without a byte, or for a whole body, before a connection is closed."""

_CONNECTIONS = 64
_PLAIN = "text/plain; charset=utf-8"
_SIZE = "text/x.tlog.size"
_MONITORED = re.compile(r"/([0-9a-f]{64})/checkpoint")
_LENGTH = re.compile(r"[0-9]{1,9}")

Report = Callable[[str], None]
"""Is told of every request answered, in a line."""


class WitnessServer(ThreadingHTTPServer):
    """Serves a witness until `shutdown` is called."""

    daemon_threads = True
    request_queue_size = _CONNECTIONS

    def __init__(self, address: tuple[str, int], witness: Witness, report: Report = lambda line: None):
        """Listens on a host and port; port 0 chooses a free one.

        Raises:
          OSError: The address is taken, or not this machine's.
        """
        self.witness = witness
        self.report = report
        self._free = BoundedSemaphore(_CONNECTIONS)
        super().__init__(address, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serves a connection in a thread of its own, or closes it when there are too many."""
        if not self._free.acquire(blocking=False):
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serves a connection, whose place is then free."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A connection that broke off is nobody's concern but its own."""
        self.report("connection lost")


class _Handler(BaseHTTPRequestHandler):
    server: WitnessServer  # pyright: ignore[reportIncompatibleVariableOverride]
    protocol_version = "HTTP/1.1"
    server_version = "relayjax-witness"
    sys_version = ""
    timeout = _TIMEOUT

    def do_POST(self) -> None:
        if self.path != "/add-checkpoint":
            self.close_connection = True  # its body was not read
            self._answer(HTTPStatus.NOT_FOUND, b"only /add-checkpoint takes requests\n")
        elif (body := self._body()) is not None:
            try:
                self._answer(HTTPStatus.OK, self.server.witness.add_checkpoint(body))
            except Refusal as refusal:
                self._refuse(refusal)
            except (OSError, RelayError):
                self._answer(HTTPStatus.INTERNAL_SERVER_ERROR, b"the witness could not write; try later\n")

    def do_GET(self) -> None:
        match = _MONITORED.fullmatch(self.path)
        try:
            if not match:
                raise Refusal(HTTPStatus.NOT_FOUND, "there is /SHA-256 OF THE ORIGIN/checkpoint")
            self._answer(HTTPStatus.OK, self.server.witness.checkpoint(match[1]))
        except Refusal as refusal:
            self._refuse(refusal)

    def log_message(self, format: str, *args: Any) -> None:
        self.server.report(f"{self.address_string()} {format % args}")

    def _refuse(self, refusal: Refusal) -> None:
        if refusal.size is not None:
            self._answer(refusal.status, f"{refusal.size}\n".encode(), _SIZE)
        else:
            self._answer(refusal.status, f"{refusal}\n".encode())

    def _body(self) -> bytes | None:
        """Reads the body; None if that was answered already."""
        length = self.headers.get("Content-Length", "")
        if not _LENGTH.fullmatch(length):
            self.close_connection = True
            self._answer(HTTPStatus.LENGTH_REQUIRED, b"send a Content-Length\n")
        elif int(length) > REQUEST_LIMIT:
            self.close_connection = True
            self._answer(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE, b"a request has at most %d bytes\n" % REQUEST_LIMIT
            )
        else:
            return self._read(int(length))
        return None

    def _read(self, length: int) -> bytes | None:
        parts: list[bytes] = []
        deadline = time.monotonic() + _TIMEOUT
        while length:
            part = self.rfile.read1(length) if time.monotonic() < deadline else b""
            if not part:
                self.close_connection = True
                self._answer(HTTPStatus.BAD_REQUEST, b"the body ended early or took too long\n")
                return None
            parts.append(part)
            length -= len(part)
        return b"".join(parts)

    def _answer(self, status: HTTPStatus, body: bytes, kind: str = _PLAIN) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)


def listen(text: str) -> tuple[str, int]:
    """Splits HOST:PORT; an IPv6 address stands in brackets.

    Raises:
      ConfigError: It is no such pair.
    """
    host, colon, port = text.rpartition(":")
    if not colon or not _LENGTH.fullmatch(port) or int(port) > 65_535:
        raise ConfigError(f"{text!r} is not HOST:PORT; give for instance 127.0.0.1:8100")
    return host.strip("[]"), int(port)
